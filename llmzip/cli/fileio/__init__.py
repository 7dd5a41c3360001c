"""The files of the command line: their names, and all that keeps a user's data safe.

A file is written under a temporary name beside its place and gets its name when it is complete, so that there is never
a part of one; nothing is overwritten or deleted unasked. Knows nothing of models, of the format or of typer.
"""

from llmzip.cli.fileio.names import STDIO, SUFFIX, Refused, Skipped, compressed_name, plain_name, shown
from llmzip.cli.fileio.opening import open_output, open_source, open_stdout, refuse_terminal_input
from llmzip.cli.fileio.outputs import DescriptorOutput, Output
from llmzip.cli.fileio.sources import READ_SIZE, Identity, Source, delete, identity_of, same_content
from llmzip.cli.fileio.temporary import FileOutput, discard_temporaries

__all__ = [
    "READ_SIZE",
    "STDIO",
    "SUFFIX",
    "DescriptorOutput",
    "FileOutput",
    "Identity",
    "Output",
    "Refused",
    "Skipped",
    "Source",
    "compressed_name",
    "delete",
    "discard_temporaries",
    "identity_of",
    "open_output",
    "open_source",
    "open_stdout",
    "plain_name",
    "refuse_terminal_input",
    "same_content",
    "shown",
]
