"""`python -m cnnkit.cli`: the command line without its script."""

from cnnkit.cli import main

main()
