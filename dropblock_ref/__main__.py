"""Run the command line: python -m dropblock_ref."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
