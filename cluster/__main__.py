"""`python -m cluster` is `rayfold`."""

from cluster.command import main

main()
