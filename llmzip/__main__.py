"""`python -m llmzip` is the command `llmzip`."""

import sys

from llmzip.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
