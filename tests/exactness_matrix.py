"""Same bits everywhere: one file, written once, is read and written again under other threads, kernels and instruction sets.

    python tests/exactness_matrix.py MODEL FILE [BYTES] [LANES] [KERNELS]

Each case is a fresh process. The columns are what it ran under, whether it decoded the file to the original bytes, and whether it wrote the
identical file. Exit code 1 if any case differs. KERNELS under torch's and oneDNN's limits are "none" (torch operations) or "default" (what a
user gets). The test suite runs this on a tiny model; on SmolLM2 it takes
three quarters of an hour.
"""

import itertools
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CASE = """
import sys
from pathlib import Path
import llmzip
from llmzip.models import registry
model = registry.load(sys.argv[1], threads=int(sys.argv[4]))
data, packed = Path(sys.argv[2]).read_bytes(), Path(sys.argv[3]).read_bytes()
print(model.kernels)
print(llmzip.decompress(packed, model) == data, llmzip.compress(data, model, lanes=int(sys.argv[5])) == packed)
"""
ATEN = ("default", "avx2", "avx512")
ONEDNN = ("SSE41", "AVX2", "AVX512_CORE", "")
KERNELS = ("none", "portable", "avx2", "avx512-vnni", "amx")


def case(model: str, source: Path, packed: Path, lanes: int, threads: int, environment: dict[str, str]) -> tuple[str, bool, bool]:
    result = subprocess.run(
        [sys.executable, "-c", CASE, model, str(source), str(packed), str(threads), str(lanes)],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    kernels, flags = result.stdout.splitlines()
    decoded, written = flags.split()
    return kernels, decoded == "True", written == "True"


def cases(threads: tuple[int, ...] = (1, 2), kernels: str = "none"):
    """These kernels under every ISA limit of torch and oneDNN, then each level of the fused kernels."""
    for aten, onednn, n in itertools.product(ATEN, ONEDNN, threads):
        limits = {"ONEDNN_MAX_CPU_ISA": onednn} if onednn else {}
        yield n, {"ATEN_CPU_CAPABILITY": aten, **limits, **({} if kernels == "default" else {"LLMZIP_KERNELS": kernels})}
    for level, n in itertools.product(KERNELS[1:], threads):
        yield n, {"LLMZIP_KERNELS": level}


def main(model: str, path: str, size: int = 20_000, lanes: int = 64, kernels: str = "none") -> int:
    from llmzip import compress, get_info
    from llmzip.models import registry

    with tempfile.TemporaryDirectory() as folder:
        source, packed = Path(folder, "text"), Path(folder, "text.lmz")
        source.write_bytes(Path(path).read_bytes()[:size])
        packed.write_bytes(compress(source.read_bytes(), registry.load(model), lanes=lanes))
        assert {block.kind for block in get_info(packed).blocks} == {"model"}, "the file shows nothing of the model"
        print(f"{source.stat().st_size} bytes -> {packed.stat().st_size}")

        def run(chosen: tuple[int, dict[str, str]]) -> bool:
            threads, environment = chosen
            kernels, decoded, written = case(model, source, packed, lanes, threads, environment)
            what = " ".join(f"{key}={value}" for key, value in environment.items())
            print(f"threads={threads} {what:<72} decodes={decoded} same_file={written}  [{kernels[:60]}]", flush=True)
            return decoded and written

        equal = []
        for threads, jobs in ((1, 2), (2, 1)):  # two cores in use either way
            with ThreadPoolExecutor(jobs) as pool:
                equal += pool.map(run, cases((threads,), kernels))
    wrong = equal.count(False)
    print(f"{len(equal)} cases, {wrong} differences")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5]), *sys.argv[5:]))
