"""What `rayfold doctor` looks at: one file for each thing."""
