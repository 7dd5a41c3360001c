"""`python -m llmzip` is the command `llmzip`."""

from llmzip.cli.app import main

if __name__ == "__main__":
    main()
