"""Same bits everywhere: one file, written once, is read and written again under other threads, kernels and instruction sets.

    python tests/exactness_matrix.py MODEL FILE [BYTES]

Each case is a fresh process. The columns are what it ran under, whether it decoded the file to the original bytes, and whether it wrote the
identical file. Exit code 1 if any case differs. The test suite runs this on a tiny model; on SmolLM2 it takes minutes.
"""

import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CASE = """
import sys
from pathlib import Path
import llmzip
from llmzip.models import registry
model = registry.load(sys.argv[1], threads=int(sys.argv[4]))
data, packed = Path(sys.argv[2]).read_bytes(), Path(sys.argv[3]).read_bytes()
print(model.kernels)
print(llmzip.decompress(packed, model) == data, llmzip.compress(data, model) == packed)
"""
ATEN = ("default", "avx2", "avx512")
ONEDNN = ("SSE41", "AVX2", "AVX512_CORE", "")
KERNELS = ("none", "portable", "avx2", "avx512-vnni")


def case(model: str, source: Path, packed: Path, threads: int, environment: dict[str, str]) -> tuple[str, bool, bool]:
    result = subprocess.run(
        [sys.executable, "-c", CASE, model, str(source), str(packed), str(threads)],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    kernels, flags = result.stdout.splitlines()
    decoded, written = flags.split()
    return kernels, decoded == "True", written == "True"


def cases(threads: tuple[int, ...] = (1, 2)):
    """torch operations under every ISA limit of torch and oneDNN, then each level of the fused kernels."""
    for aten, onednn, n in itertools.product(ATEN, ONEDNN, threads):
        limits = {"ONEDNN_MAX_CPU_ISA": onednn} if onednn else {}
        yield n, {"LLMZIP_KERNELS": "none", "ATEN_CPU_CAPABILITY": aten, **limits}
    for level, n in itertools.product(KERNELS[1:], threads):
        yield n, {"LLMZIP_KERNELS": level}


def main(model: str, path: str, size: int = 20_000) -> int:
    from llmzip import compress
    from llmzip.models import registry

    with tempfile.TemporaryDirectory() as folder:
        source, packed = Path(folder, "text"), Path(folder, "text.lmz")
        source.write_bytes(Path(path).read_bytes()[:size])
        packed.write_bytes(compress(source.read_bytes(), registry.load(model)))
        print(f"{source.stat().st_size} bytes -> {packed.stat().st_size}")
        wrong = 0
        for threads, environment in cases():
            kernels, decoded, written = case(model, source, packed, threads, environment)
            wrong += not (decoded and written)
            what = " ".join(f"{key}={value}" for key, value in environment.items())
            print(f"threads={threads} {what:<72} decodes={decoded} same_file={written}  [{kernels[:60]}]", flush=True)
    print(f"{wrong} differences")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
