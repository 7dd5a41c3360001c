"""Compress a string in memory and get it back.

Run it so:

    python examples/compress_a_string.py "To be, or not to be, that is the question."
"""

import argparse
import sys
import zlib

import llmzip

SAMPLE = "It is a truth universally acknowledged, that a single man in possession of a good fortune must want a wife."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", default=SAMPLE)
    parser.add_argument("--model", help="a name or a folder; the default model if not given")
    arguments = parser.parse_args()

    data = arguments.text.encode()
    small = llmzip.compress(data, arguments.model)
    back = llmzip.decompress(small)  # the file names its model

    print(f"text    {len(data)} bytes")
    print(f"llmzip  {len(small)} bytes, 24 of them header and checks")
    print(f"zlib    {len(zlib.compress(data, 9))} bytes")
    print(f"back    {'the same' if back == data else 'DIFFERENT'}: {back.decode()}")
    return 0 if back == data else 1


if __name__ == "__main__":
    sys.exit(main())
