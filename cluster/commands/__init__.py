"""The subcommands of `rayfold`, one file each."""
