"""``python -m eventstore`` is the command ``eventstore``."""

from eventstore.cli import main

main()
