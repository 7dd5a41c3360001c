"""Same bits everywhere: one file, written once, is read and written again under other threads, kernels and instruction
sets.

    python tests/exactness_matrix.py MODEL FILE [BYTES] [LANES] [KERNELS]

Each case is a fresh process. The columns are what it ran under, whether it decoded the file to the original bytes, and
whether it wrote the identical file. Exit code 1 if any case differs. KERNELS under torch's and oneDNN's limits are
"torch" (torch operations) or "default" (what a user gets). The test suite runs this on a tiny model; on SmolLM2 it
takes three quarters of an hour. The predictor is that of the library in all cases: tests/test_predictor.py compares it
with its twin.
"""

import itertools
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from llmzip import get_info, native
from llmzip.models import Model, registry
from llmzip.stream import LmzCompressor

CASE = """
import os, sys
from pathlib import Path
import llmzip
from llmzip.models import fused, registry
fused.THREAD_SHARE = 1  # a tiny model has its threads, too
sys.path.insert(0, sys.argv[6])
from exactness_matrix import pack
model = registry.load(sys.argv[1], threads=int(sys.argv[4]))
data, packed = Path(sys.argv[2]).read_bytes(), Path(sys.argv[3]).read_bytes()
if "MATRIX_TORCH" in os.environ:
    model.open, model.kernels = model.open_reference, "torch operations"
print(model.kernels)
print(llmzip.decompress(packed, model) == data, pack(data, model, int(sys.argv[5])) == packed)
"""
ATEN = ("default", "avx2", "avx512")
ONEDNN = ("SSE41", "AVX2", "AVX512_CORE", "")


def pack(data: bytes, model: Model, lanes: int) -> bytes:
    """By the model, whatever it makes of a sample."""
    compressor = LmzCompressor(model, lanes=lanes, share=math.inf)
    return compressor.compress(data) + compressor.flush()


def case(
    model: str, source: Path, packed: Path, lanes: int, threads: int, environment: dict[str, str]
) -> tuple[str, bool, bool]:
    result = subprocess.run(
        [sys.executable, "-c", CASE, model, str(source), str(packed), str(threads), str(lanes),
        str(Path(__file__).parent)],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    kernels, flags = result.stdout.splitlines()
    decoded, written = flags.split()
    return kernels, decoded == "True", written == "True"


def cases(threads: tuple[int, ...] = (1, 2), kernels: str = "torch") -> Iterator[tuple[int, dict[str, str]]]:
    """These kernels under every ISA limit of torch and oneDNN, then each level of the fused kernels."""
    for aten, onednn, n in itertools.product(ATEN, ONEDNN, threads):
        limits = {"ONEDNN_MAX_CPU_ISA": onednn} if onednn else {}
        yield n, {"ATEN_CPU_CAPABILITY": aten, **limits, **({"MATRIX_TORCH": "1"} if kernels == "torch" else {})}
    for level, n in itertools.product(native.LEVELS, threads):
        yield n, {"LLMZIP_KERNELS": level}


def main(model: str, path: str, size: int = 20_000, lanes: int = 64, kernels: str = "torch") -> int:
    with tempfile.TemporaryDirectory() as folder:
        source, packed = Path(folder, "text"), Path(folder, "text.lmz")
        source.write_bytes(Path(path).read_bytes()[:size])
        packed.write_bytes(pack(source.read_bytes(), registry.load(model), lanes))
        assert {block.kind for block in get_info(packed).blocks} == {"model"}, "the file shows nothing of the model"
        print(f"{source.stat().st_size} bytes -> {packed.stat().st_size}")

        def run(chosen: tuple[int, dict[str, str]]) -> bool:
            threads, environment = chosen
            kernels, decoded, written = case(model, source, packed, lanes, threads, environment)
            what = " ".join(f"{key}={value}" for key, value in environment.items())
            print(f"threads={threads} {what:<72} decodes={decoded} same_file={written}  [{kernels[:60]}]", flush=True)
            return decoded and written

        equal: list[bool] = []
        for threads, jobs in ((1, 2), (2, 1)):  # two cores in use either way
            with ThreadPoolExecutor(jobs) as pool:
                equal += pool.map(run, cases((threads,), kernels))
    wrong = equal.count(False)
    print(f"{len(equal)} cases, {wrong} differences")
    return int(wrong > 0)


if __name__ == "__main__":
    size_and_lanes: Any = map(int, sys.argv[3:5])
    sys.exit(main(sys.argv[1], sys.argv[2], *size_and_lanes, *sys.argv[5:]))
