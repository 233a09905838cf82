"""`python -m gentune.bench`: the command line without the installed script."""

from .commands.cli import main

main()
