"""`python -m jaxepi`: the command line."""

import sys

from jaxepi.cli import main

if __name__ == "__main__":
    sys.exit(main())
