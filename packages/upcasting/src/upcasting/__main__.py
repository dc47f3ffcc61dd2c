"""The command ``upcasting``, also as ``python -m upcasting``."""

import sys


def main() -> None:
    """Run the command. Ctrl-C ends it quietly, also while its modules are loaded."""
    try:
        from upcasting.cli import main as run  # noqa: PLC0415 (inside, so that Ctrl-C is quiet from the beginning)

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
