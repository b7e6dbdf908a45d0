"""`python -m tycostream`."""

import sys

from tycostream.cli import main

if __name__ == "__main__":
    sys.exit(main())
