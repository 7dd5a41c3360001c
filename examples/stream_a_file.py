"""Compress and decompress a file of any size in pieces. At most about a block of it is in memory at a time.

Run it so:

    python examples/stream_a_file.py FILE --block-size 65536
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

from llmzip import LmzCompressor, LmzDecompressor

PIECE = 1 << 14  # bytes read at a time


def compress(source: BinaryIO, target: BinaryIO, compressor: LmzCompressor) -> None:
    while piece := source.read(PIECE):
        target.write(compressor.compress(piece))  # mostly nothing; now and then a block
    target.write(compressor.flush())


def compare(compressed: BinaryIO, original: BinaryIO, decompressor: LmzDecompressor) -> bool:
    """Whether what comes out is what went in, piece by piece."""
    while not decompressor.eof:
        fresh = b""
        if decompressor.needs_input:
            fresh = compressed.read(PIECE)
            if not fresh:
                decompressor.check_eof()  # raises: the file ends too early
        piece = decompressor.decompress(fresh, max_length=PIECE)
        if piece != original.read(len(piece)):
            return False
    return not original.read(1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", help="a name or a folder; the default model if not given")
    parser.add_argument("--block-size", type=int, default=1 << 16)
    arguments = parser.parse_args()

    compressor = LmzCompressor(arguments.model, block_size=arguments.block_size)
    with arguments.file.open("rb") as source, tempfile.TemporaryFile() as compressed:
        compress(source, compressed, compressor)
        n_in, n_out = source.tell(), compressed.tell()
        source.seek(0)
        compressed.seek(0)
        same = compare(compressed, source, LmzDecompressor(compressor.model))  # loaded once, used twice
    print(f"{arguments.file.name}: {n_in} bytes -> {n_out} bytes -> {'the same' if same else 'DIFFERENT'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
