"""The program `jaxepi`, also as `python -m jaxepi`: signals are heard before anything else is imported."""

import sys

from jaxepi import signals


def main() -> int:
    """Run the command line and return its exit status."""
    signals.listen()
    from jaxepi import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
