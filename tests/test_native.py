"""The C library: that it is the one of this code, how many threads it gets, and what is said where there is none."""

import ctypes
import os
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import llmzip
from llmzip import native
from llmzip.cli import doctor
from llmzip.errors import LlmzipError, ModelInvalid
from llmzip.models import registry
from llmzip.models.llama import LlamaModel
from llmzip.predictor import fused

ROOT = Path(__file__).parents[1]
TEXT = b"There was nothing so very remarkable in that, she thought, and went on down the road. " * 8


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
        timeout=200,
    )


def compiled(folder: Path, name: str, source: str, *flags: str) -> Path:
    path, target = folder / f"{name}.c", folder / f"{name}.so"
    path.write_text(source)
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    subprocess.run(
        [*compiler, "-shared", "-fPIC", *flags, str(path), "-o", str(target), "-lm"], check=True, capture_output=True
    )
    return target


# ------------------------------------------------------------------ which library


def test_the_library_has_our_sizes() -> None:
    native.check_sizes("llmzip_predictor_layout", fused._LAYOUT)


@pytest.mark.parametrize("at", range(len(fused._LAYOUT)))
def test_other_sizes_are_refused(at: int) -> None:
    other = [size + (i == at) for i, size in enumerate(fused._LAYOUT)]
    with pytest.raises(LlmzipError, match="another version") as caught:
        native.check_sizes("llmzip_predictor_layout", other)
    assert "install" in caught.value.hint


def test_a_number_of_sizes_that_is_another_is_refused() -> None:
    with pytest.raises(LlmzipError, match="another version"):
        native.check_sizes("llmzip_predictor_layout", fused._LAYOUT[:-1])


@pytest.mark.parametrize(
    "source",
    [
        "int nothing;",
        "long long *llmzip_layout(void) { static long long l[] = {0, 0}; return l; }",
        "long long *llmzip_layout(void) "
        f"{{ static long long l[] = {{{native.VERSION}, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0}}; return l; }}",
    ],
    ids=["foreign", "older", "other structures"],
)
def test_another_library_is_not_used(source: str, tmp_path: Path) -> None:
    with pytest.raises((OSError, AttributeError)):
        native._load(str(compiled(tmp_path, "other", source)))


def test_a_file_that_is_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.so").write_bytes(b"no library")
    monkeypatch.setattr(native, "_find", lambda: str(tmp_path / "broken.so"))
    library, why = native._load_or_say_why()
    assert library is None and "broken.so" in why


def test_without_the_library_it_says_so_and_works() -> None:
    done = run("from llmzip import native; print(native.library, '|', native.why_no_library)", LLMZIP_KERNELS="none")
    assert done.stdout.strip() == "None | switched off by LLMZIP_KERNELS"


def test_without_library_and_torch_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library", None)
    monkeypatch.setattr(native, "why_no_library", "no compiler")
    monkeypatch.delitem(sys.modules, "llmzip.models.reference", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "llmzip.models.ops", raising=False)
    with pytest.raises(ModelInvalid, match=r"torch is needed.*no compiler") as caught:
        registry.load("pocket")
    assert "C compiler" in caught.value.hint


@pytest.mark.long
def test_it_builds_without_openmp(tmp_path: Path) -> None:
    """As on a Mac, whose compiler refuses the option; and one thread gives the same bits."""
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\nfor word; do [ "$word" = -fopenmp ] && exit 1; done\nexec cc "$@"\n')
    compiler.chmod(0o755)
    for command in (["-S", str(ROOT / "llmzip"), "-B", str(tmp_path), "-G", "Ninja"], ["--build", str(tmp_path)]):
        environment = os.environ | {"CC": str(compiler), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        subprocess.run(["cmake", *command], env=environment, check=True, capture_output=True, timeout=250)
    made = tmp_path / "_kernels.so"
    assert native._load(str(made)).llmzip_threaded() == 0
    code = (
        "import sys; from llmzip import native; native._find = lambda: sys.argv[1]\n"
        "native.library, _ = native._load_or_say_why()\n"
        f"import llmzip; print(llmzip.compress({TEXT!r}).hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(made)], capture_output=True, text=True, cwd=ROOT, timeout=100
    )
    assert done.stdout.strip() == llmzip.compress(TEXT).hex()


def test_importing_leaves_the_environment_alone() -> None:
    code = "import os; before = dict(os.environ); from llmzip import native; print(dict(os.environ) == before)"
    environment = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.stdout == "True\n", done.stderr
    assert (
        run("import os; from llmzip import native; print(os.environ['GOMP_SPINCOUNT'])", GOMP_SPINCOUNT="7").stdout
        == "7\n"
    )


@pytest.mark.parametrize(
    ("wanted", "levels"), [("", [0, 1, 4]), ("neon", [0, 1, 4]), ("amx", [0, 1]), ("portable", [0]), ("?", [0, 1, 4])]
)
def test_levels_are_those_of_the_library_up_to_the_one_asked_for(
    wanted: str, levels: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Library:
        def llmzip_levels(self) -> int:
            return 0b10011

    monkeypatch.setenv("LLMZIP_KERNELS", wanted)
    assert native._levels(cast(ctypes.CDLL, Library())) == levels


# ------------------------------------------------------------------ threads


def test_threads_belong_to_the_call() -> None:
    before = native.clip_threads(None), torch.get_num_threads()
    one = llmzip.compress(TEXT, threads=1)
    assert (native.clip_threads(None), torch.get_num_threads()) == before
    assert registry.load("pocket").threads is None
    assert one == llmzip.compress(TEXT, threads=3)
    model = registry.load("pocket", threads=1)
    assert isinstance(model, LlamaModel)
    state = model.open_reference(1, 64)
    state.forward(np.array([[1, 2]], dtype=np.int32))
    assert torch.get_num_threads() == before[1]


@pytest.mark.parametrize("wanted", [0, 1, 2, 5, 300, 50_000, 1 << 31, 1 << 70])
def test_threads_are_bounded(wanted: int) -> None:
    assert 1 <= native.clip_threads(wanted) <= max(native.MORE_THREADS, os.cpu_count() or 1)


def test_any_number_of_threads_writes_the_same() -> None:
    assert len({llmzip.compress(TEXT, threads=threads) for threads in (1, 2, 5, 16, 100_000)}) == 1


def test_a_call_on_few_rows_has_one_thread() -> None:
    """More would wait for each other longer than they work."""
    state = cast(Any, registry.load("pocket", threads=2).open(1, 64))
    assert [state._threads_for(rows) for rows in (1, 4, 32)] == [1, 1, native.clip_threads(2)]


def test_a_negative_number_of_threads() -> None:
    with pytest.raises(ValueError, match="threads"):
        llmzip.compress(TEXT, threads=-1)


def test_threads_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system starts no more, the library for threads would end the process."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(native, "_pool", native._Pool())
    monkeypatch.setattr("threading.Thread.start", start)
    assert native.clip_threads(4) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit of the address space")
def test_each_thread_that_calls_is_told_what_it_can_have() -> None:
    """The library has a pool for each of them: what one could start says nothing of the next.

    Without room it would end the process.
    """
    code = """
import resource, threading
import numpy as np
from llmzip.models import registry
state = registry.load("pocket", threads=2).open(2, 64)
ids = np.arange(32, dtype=np.int32).reshape(2, 16)
found, turn = [state.forward(ids)], threading.Event()
state.reset()
other = threading.Thread(target=lambda: turn.wait() and found.append(state.forward(ids)))
other.start()
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (6 << 20), -1))  # the stack of a thread has 8 MiB
turn.set()
other.join()
print(np.array_equal(*found))
"""
    done = run(code)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("device", ["meta", "foo", "cuda:99"])
def test_a_device_that_cannot_be(device: str) -> None:
    with pytest.raises(ModelInvalid, match=device):
        llmzip.compress(TEXT, device=device)


# ------------------------------------------------------------------ the rounding of the processor

FENV = """
#include <fenv.h>
int set(int mode) { int all[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}; return fesetround(all[mode]); }
#include <xmmintrin.h>
void flush(void) { _mm_setcsr(_mm_getcsr() | 0x8040); }
"""
USE = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
from llmzip.errors import LlmzipError
from llmzip.models import registry
import llmzip
TEXT = {text!r}
{code}
"""


def use(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    library = compiled(tmp_path, "fenv", FENV)
    program = USE.format(text=TEXT, code=code)
    return subprocess.run(
        [sys.executable, "-c", program, str(library)], capture_output=True, text=True, cwd=ROOT, timeout=100
    )


@pytest.mark.skipif(sysconfig.get_platform() != "linux-x86_64", reason="sets the control register of x86")
@pytest.mark.parametrize("mode", [1, 2, 3])
def test_another_rounding_is_refused(mode: int, tmp_path: Path) -> None:
    code = f"""
def refused(work):
    library.set({mode})
    try:
        work()
    except LlmzipError as error:
        library.set(0)
        return "rounded" in str(error) and "fesetround" in error.hint
    library.set(0)
model = registry.load("pocket")
print(refused(lambda: registry.load("pocket")), refused(lambda: llmzip.compress(TEXT, model)))
print(llmzip.decompress(llmzip.compress(TEXT, model)) == TEXT)
"""
    done = use(tmp_path, code)
    assert done.stdout == "True True\nTrue\n", done.stderr


@pytest.mark.skipif(sysconfig.get_platform() != "linux-x86_64", reason="sets the control register of x86")
@pytest.mark.parametrize("mode", [1, 2, 3])
def test_threads_that_were_started_in_another_mode_are_refused(mode: int, tmp_path: Path) -> None:
    """They keep the mode of the one that started them, and would write what nobody can read."""
    code = f"""
openmp, nothing = ctypes.CDLL("libgomp.so.1"), ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda data: None)
library.set({mode})
openmp.GOMP_parallel(nothing, None, 2, 0)
library.set(0)
try:
    print(llmzip.decompress(llmzip.compress(TEXT, threads=2), threads=1) == TEXT)
except LlmzipError as error:
    print("rounded" in str(error))
print(llmzip.decompress(llmzip.compress(TEXT, threads=1), threads=1) == TEXT)
"""
    done = use(tmp_path, code)
    assert done.stdout == "True\nTrue\n", done.stderr


@pytest.mark.skipif(sysconfig.get_platform() != "linux-x86_64", reason="sets the control register of x86")
def test_flush_to_zero_changes_no_bit(tmp_path: Path) -> None:
    done = use(tmp_path, "library.flush(); print(llmzip.compress(TEXT).hex())")
    assert done.stdout.strip() == llmzip.compress(TEXT).hex(), done.stderr


def test_rounding_is_checked() -> None:
    native.check_rounding()
    assert ctypes.sizeof(ctypes.c_double) == 8


# ------------------------------------------------------------------ doctor


def test_doctor_checks_what_computes() -> None:
    found = dict(doctor.report("pocket", None, 2))
    assert found["threads"] == "2" and "exact in the self-test" in found["kernels"]
    assert found["self-test"] == "kernels = torch operations: ok" and found["scores"].startswith("sha256 ")
    assert found["fused kernels"].endswith(" threads") and found["model"].startswith("pocket, ")


def test_doctor_says_why_there_are_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library", None)
    monkeypatch.setattr(native, "why_no_library", "no C compiler")
    assert dict(doctor.report("pocket", None, None))["fused kernels"].startswith("no C compiler: ")


def test_doctor_finds_kernels_that_compute_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the check is for: a state whose scores depend on how they are asked for."""
    model = registry.load("pocket")
    honest = model.open

    def open_spoilt(lanes: int, window: int) -> Any:
        state: Any = honest(lanes, window)
        forward = state.forward
        state.forward = lambda ids: forward(ids) - (ids.shape[1] == 1)
        return state

    monkeypatch.setattr(model, "open", open_spoilt)
    monkeypatch.setattr(registry, "load", lambda *args, **kwargs: model)
    with pytest.raises(ModelInvalid, match="different scores"):
        list(doctor.report("pocket", None, None))
