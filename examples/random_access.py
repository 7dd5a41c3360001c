"""Read lines from the middle of an .lmz file. Only the blocks that they are in are decoded.

Run it so:

    python examples/random_access.py
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import llmzip

LINES = [f"Line {n}: the square of {n} is {n * n}, and its cube is {n**3}.\n".encode() for n in range(100)]
WIDTH = 64  # every line is padded to this, so that it is known where each begins
BLOCK_SIZE = 1024  # small blocks: short waits, but a larger file


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a name or a folder; the default model if not given")
    arguments = parser.parse_args()

    content = b"".join(line.rjust(WIDTH) for line in LINES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "squares.lmz"
        with llmzip.open(path, "wb", model=arguments.model, block_size=BLOCK_SIZE) as file:
            file.write(content)
        info = llmzip.get_info(path)
        print(f"{info.n_bytes} bytes in {len(info.blocks)} blocks, {info.n_bytes_on_disk} bytes on disk")

        wrong = 0
        with llmzip.open(path) as file:
            for number in (70, 71, 7):
                start = time.perf_counter()
                file.seek(number * WIDTH)
                line = file.read(WIDTH)
                seconds = time.perf_counter() - start
                print(f"{line.decode().strip()}  ({seconds:.2f} s)")
                wrong += line.lstrip() != LINES[number]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
