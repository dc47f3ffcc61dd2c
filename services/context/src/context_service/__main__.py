"""Runs the command ``context``: ``python -m context_service``."""

from context_service.cli import main

main()
