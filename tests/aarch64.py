"""Files written on this machine are read on aarch64, and written there they are the same.

    python tests/aarch64.py FOLDER [BYTES]

On Debian, with gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user-static and mmdebstrap. Builds the wheel for
aarch64, unpacks a Debian of that CPU into FOLDER, installs the wheel there with what it imports, and
runs it in qemu: blocks by the bundled model and blocks without a model, of texts of so many bytes, on every level of
the kernels, and on a CPU that has no dot product. Exit code 1 if anything differs.
"""

import gzip
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import sysconfig
import time
from importlib.metadata import version
from pathlib import Path

from llmzip import decompress, get_info, native
from llmzip.models import registry
from llmzip.models.llama import LlamaModel
from llmzip.stream import LmzCompressor

ROOT = Path(__file__).parents[1]
PACKAGES = ("numpy", "tokenizers", "safetensors", "platformdirs")
DEBIAN = "python3.11-minimal,libpython3.11-stdlib,libgomp1,libstdc++6"
CPUS = {"portable": ("max", "cortex-a53"), "neon": ("max",)}  # the second CPU has no dot product
# name of a case: lanes, and below what share of its size without the model a sample has to come out to be read by it
CASES = {"model": (1, math.inf), "model in lanes": (7, math.inf), "no model": (1, 0.0), "opened gzip": (1, 0.0)}


def content(name: str, size: int) -> bytes:
    text = (ROOT / "docs/exactness.md").read_bytes()
    return gzip.compress(text[: 4 * size], mtime=0) if name == "opened gzip" else text[-size:]


def pack(name: str, data: bytes) -> bytes:
    lanes, share = CASES[name]
    compressor = LmzCompressor("pocket", lanes=lanes, share=share, threads=2)
    return compressor.compress(data) + compressor.flush()


# ------------------------------------------------------------------ there


def check(folder: Path) -> None:
    """Prints a line of JSON for each case: its name, whether it was read, whether it was written the same, seconds."""
    model = registry.load("pocket")
    assert isinstance(model, LlamaModel)
    print(json.dumps([platform.machine(), native.levels, model.kernels]), flush=True)
    for name in CASES:
        data, packed = (folder / name).read_bytes(), (folder / f"{name}.lmz").read_bytes()
        begin = time.perf_counter()
        read, written = decompress(packed, threads=2) == data, pack(name, data) == packed
        print(json.dumps([name, read, written, time.perf_counter() - begin]), flush=True)


# ------------------------------------------------------------------ here


def call(*command: str, **environment: str) -> None:
    subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)


def build(folder: Path) -> None:
    """The wheel, the root and what Python imports there."""
    call(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT),
        CC="aarch64-linux-gnu-gcc", CMAKE_ARGS="-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64",
        _PYTHON_HOST_PLATFORM="linux-aarch64",
    )  # fmt: skip
    (wheel,) = folder.glob("llmzip-*-py3-none-linux_aarch64.whl")
    root, site = folder / "root", folder / "site"
    if not root.exists():
        call("mmdebstrap", "--quiet", "--variant=extract", "--arch=arm64", f"--include={DEBIAN}", "bookworm", str(root))
    platforms = [f"--platform={tag}_aarch64" for tag in ("linux", "manylinux2014", "manylinux_2_27", "manylinux_2_28")]
    call(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(site),
        "--python-version=3.11", "--implementation=cp", "--only-binary=:all:", *platforms,
        *(f"{name}=={version(name)}" for name in PACKAGES), str(wheel),
    )  # fmt: skip


def run(folder: Path, cpu: str, level: str) -> bool:
    home = folder / "root/usr"
    environment = {"PYTHONHOME": home, "PYTHONPATH": folder / "site", "LLMZIP_KERNELS": level}
    settings = [word for name, value in environment.items() for word in ("-E", f"{name}={value}")]
    command = ["qemu-aarch64-static", "-cpu", cpu, "-L", str(folder / "root"), *settings, str(home / "bin/python3.11")]
    done = subprocess.run(
        [*command, __file__, str(folder), "there"], stdout=subprocess.PIPE, check=True, text=True, cwd=folder
    )
    (machine, levels, kernels), *cases = map(json.loads, done.stdout.splitlines())
    print(f"{machine} {cpu}, levels {levels}, {kernels}", flush=True)
    for name, read, written, seconds in cases:
        print(f"    {name:<16} decodes={read} same_file={written}  {seconds:.0f} s", flush=True)
    wanted = f"fused, {level}:"
    return kernels.startswith(wanted) and len(cases) == len(CASES) and all(case[1] and case[2] for case in cases)


def main(folder: Path, size: int) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    build(folder)
    print(f"written on {sysconfig.get_platform()}")
    for name in CASES:
        data = content(name, size)
        packed = pack(name, data)
        (folder / name).write_bytes(data)
        (folder / f"{name}.lmz").write_bytes(packed)
        kinds = "+".join(sorted({block.kind for block in get_info(folder / f"{name}.lmz").blocks}))
        digest = hashlib.sha256(packed).hexdigest()[:16]
        print(f"    {name:<16} {len(data)} -> {len(packed)} bytes, {kinds}, sha256 {digest}", flush=True)
    same = [run(folder, cpu, level) for level, cpus in CPUS.items() for cpu in cpus]
    print("all the same" if all(same) else "DIFFERENT")
    return int(not all(same))


if __name__ == "__main__":
    if sys.argv[2:] == ["there"]:
        check(Path(sys.argv[1]))
    else:
        sys.exit(main(Path(sys.argv[1]).resolve(), int((sys.argv[2:] or ["2000"])[0])))
