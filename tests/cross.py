"""The C library is built for systems that are not at hand: Windows and macOS, on x86-64 and on ARM64.

    python tests/cross.py FOLDER [TARGET...]

Needs CMake, Ninja, `pip install ziglang` (Clang, with the headers and libraries of those systems), and llvm-nm and
llvm-objdump of LLVM. Builds in FOLDER, without OpenMP and with warnings as errors, and looks into what was linked.
Exit code 1 if a level is missing, or if anything but the functions marked EXPORT is exported. Nothing is run.
"""

import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "llmzip"
LEVELS = {"x86_64": {"PORTABLE", "AVX2", "VNNI"}, "aarch64": {"PORTABLE", "NEON"}}
SYSTEMS = {"windows-gnu": "Windows", "macos": "Darwin"}
TARGETS = [f"{cpu}-{system}" for system in SYSTEMS for cpu in LEVELS]
# zig has other names for CPUs, and links no bundles of macOS: those are shared libraries here.
AS_ZIG = {"-march=armv8.2-a+dotprod": "-mcpu=generic+v8_2a+dotprod", "-bundle": "-shared"}
# Without OpenMP, the numbers of threads are unused, and its pragmas unknown.
WARNINGS = "-Wall -Wextra -Wshadow -Werror -Wno-unused-parameter -Wno-unknown-pragmas"


def compile_by_zig(target: str, words: list[str]) -> int:
    """As Clang would be called."""
    flags = [AS_ZIG.get(word, word) for word in words]
    return subprocess.call([sys.executable, "-m", "ziglang", "cc", "-target", target, *flags])


def output(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}\n{' '.join(command)}: exit code {done.returncode}")
    return done.stdout


def build(folder: Path, target: str) -> set[str]:
    """The levels that the compiler had."""
    cpu, _, system = target.partition("-")
    compiler = ";".join([sys.executable, str(Path(__file__).resolve()), "cc", target])
    output(
        "cmake", "-S", str(SOURCE), "-B", str(folder), "-G", "Ninja", f"-DCMAKE_C_COMPILER={compiler}",
        f"-DCMAKE_SYSTEM_NAME={SYSTEMS[system]}", f"-DCMAKE_SYSTEM_PROCESSOR={cpu}", "-DLLMZIP_OPENMP=OFF",
    )  # fmt: skip
    output("cmake", "-DCMAKE_C_FLAGS=" + WARNINGS, str(folder))  # which the questions to the compiler did not have
    output("cmake", "--build", str(folder))
    return set(re.findall(r"^HAVE_(\w+):INTERNAL=1$", (folder / "CMakeCache.txt").read_text("utf-8"), re.M))


def check(folder: Path, target: str) -> bool:
    levels = build(folder, target)
    library = next(folder.glob("_kernels.*[od]"))  # .so or .pyd
    symbols = output("llvm-nm", "-gU", str(library)) + (inside := output("llvm-objdump", "-p", str(library)))
    exported = set(re.findall(r"^(?:\w+ T _|\s+\d+\s+0x\w+  )(\w+)$", symbols, re.M))
    wanted = {
        name for path in SOURCE.rglob("*.c") for name in re.findall(r"^EXPORT .*?(\w+)\(", path.read_text(), re.M)
    }
    needs = re.findall(r"(?:DLL Name:|cmd LC_LOAD_DYLIB\n.*\n +name) (\S+)", inside)
    print(f"{target}: {library.name}, {library.stat().st_size} bytes, levels {' '.join(sorted(levels))}")
    print(f"    exports {len(exported)} of {len(wanted)} functions, needs {' '.join(needs)}", flush=True)
    return levels == LEVELS[target.partition("-")[0]] and exported == wanted


def main(folder: Path, targets: list[str]) -> int:
    right = [check(folder / target, target) for target in targets]
    return int(not all(right))


if __name__ == "__main__":
    if sys.argv[1] == "cc":
        sys.exit(compile_by_zig(sys.argv[2], sys.argv[3:]))
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:] or TARGETS))
