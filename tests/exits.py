"""Ways in which a program ends that has not closed its writers: each must leave complete files, and end.

    python tests/exits.py [RUNS [PATTERN...]]

runs each of them so many times (100). tests/test_exit.py runs them once.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import llmzip

TIMEOUT = 120  # seconds: far above what any of them takes, to tell a hang

# What every pattern begins with. It writes to `path` and ends in its own way.
HEAD = """
import atexit, io, logging, os, sys, threading
import llmzip
path = sys.argv[1]
text = "It is a truth universally acknowledged, that a single man\\n"
lines = text * 5
data = lines.encode()
"""
TEXT = "It is a truth universally acknowledged, that a single man\n"
LINES = (TEXT * 5).encode()


@dataclass(frozen=True)
class Pattern:
    code: str
    content: bytes = LINES
    code_before: str = ""  # before llmzip is imported
    exit_code: int = 0


FORK = 'f = llmzip.open(path, "wb"); f.write(data)\n'
PATTERNS = {
    # The ends of one process
    "end of the script": Pattern('f = llmzip.open(path, "wb"); f.write(data)'),
    "sys.exit": Pattern('f = llmzip.open(path, "wb"); f.write(data); sys.exit(3)', exit_code=3),
    "exception": Pattern('f = llmzip.open(path, "wb"); f.write(data); raise RuntimeError', exit_code=1),
    "interrupt": Pattern('f = llmzip.open(path, "wb"); f.write(data); raise KeyboardInterrupt', exit_code=-2),
    "sys.exit in a thread": Pattern(
        'f = llmzip.open(path, "wb"); t = threading.Thread(target=lambda: (f.write(data), sys.exit(3))); t.start()'
    ),
    "thread that outlives the main one": Pattern(
        'f = llmzip.open(path, "wb"); main = threading.main_thread()\n'
        "threading.Thread(target=lambda: (main.join(), f.write(data))).start()"
    ),
    "nothing written": Pattern('f = llmzip.open(path, "wb")', content=b""),
    "some members flushed": Pattern(
        'f = llmzip.open(path, "wb")\nfor line in data.splitlines(True): f.write(line); f.flush()'
    ),
    "flushed and more": Pattern(
        'f = llmzip.open(path, "wb"); f.write(data); f.flush(); f.write(data)', content=LINES * 2
    ),
    "killed after a flush": Pattern(
        'f = llmzip.open(path, "wb"); f.write(data); f.flush(); f.write(data); os.kill(os.getpid(), 9)', exit_code=-9
    ),
    "killed after a flush of text": Pattern(
        'f = llmzip.open(path, "wt", encoding="utf-8"); f.write(lines); f.flush(); f.write(lines); '
        "os.kill(os.getpid(), 9)",
        exit_code=-9,
    ),
    "killed before there is a block": Pattern(
        'with llmzip.open(path, "wb") as f: f.write(data)\n'
        'f = llmzip.open(path, "wb"); f.write(b"new"); os.kill(os.getpid(), 9)',
        exit_code=-9,
    ),
    "logging, killed": Pattern(
        'h = logging.StreamHandler(llmzip.open(path, "wt", encoding="utf-8")); '
        'logging.basicConfig(handlers=[h], format="%(message)s")\n'
        'for i in range(5): logging.warning("%s", text[:-1])\nos.kill(os.getpid(), 9)',
        exit_code=-9,
    ),
    "append": Pattern('llmzip.open(path, "wb").close(); f = llmzip.open(path, "ab"); f.write(data)'),
    "many writers": Pattern(
        'files = [llmzip.open(path if i == 7 else f"{path}.{i}", "wb") for i in range(9)]\n'
        "for f in files: f.write(data)"
    ),
    "one that fails among many": Pattern(
        "class Full:\n    def write(self, data): raise OSError(28, 'full')\n"
        "bad = [llmzip.LmzFile(Full(), 'w') for _ in range(3)]\n"
        'f = llmzip.open(path, "wb"); bad += [llmzip.LmzFile(Full(), "w") for _ in range(3)]\n'
        "for file in [*bad, f]: file.write(data)"
    ),
    # Who holds it
    "reference cycle": Pattern(
        'class C: pass\nc = C(); c.f = llmzip.open(path, "wb"); c.me = c; c.f.write(data); del c'
    ),
    "collected cycle": Pattern(
        'import gc\nclass C: pass\nc = C(); c.f = llmzip.open(path, "wb"); c.me = c; c.f.write(data); del c; '
        "gc.collect(); os._exit(0)"
    ),
    "thread-local": Pattern('local = threading.local(); local.f = llmzip.open(path, "wb"); local.f.write(data)'),
    "local of a function": Pattern('def g():\n    h = llmzip.open(path, "wb"); h.write(data)\ng(); os._exit(0)'),
    "suspended generator": Pattern(
        'def g():\n    with llmzip.open(path, "wb") as f:\n        f.write(data); yield\nit = g(); next(it)'
    ),
    "exit stack": Pattern(
        'import contextlib\nstack = contextlib.ExitStack(); f = stack.enter_context(llmzip.open(path, "wb")); '
        "f.write(data)"
    ),
    "attribute of a module": Pattern('sys.kept = llmzip.open(path, "wb"); sys.kept.write(data)'),
    "coroutine that never ends": Pattern(
        "import asyncio\nasync def g():\n    f = llmzip.open(path, 'wb'); f.write(data); kept.append(f)\n"
        "kept = []; asyncio.run(g())"
    ),
    # What is around it, and below
    "text": Pattern('f = llmzip.open(path, "wt", encoding="utf-8"); f.write(lines)'),
    "text and sys.exit": Pattern(
        'f = llmzip.open(path, "wt", encoding="utf-8"); f.write(lines); sys.exit(3)', exit_code=3
    ),
    "text in a cycle": Pattern(
        'class C: pass\nc = C(); c.f = llmzip.open(path, "wt", encoding="utf-8"); c.me = c; c.f.write(lines); del c'
    ),
    "print": Pattern('f = llmzip.open(path, "wt", encoding="utf-8")\nfor i in range(5): print(text, end="", file=f)'),
    "csv": Pattern(
        'import csv\nf = llmzip.open(path, "wt", newline=""); csv.writer(f).writerows([[1, 2], [3, 4]])',
        content=b"1,2\r\n3,4\r\n",
    ),
    "text that was detached": Pattern(
        'f = llmzip.open(path, "wt", encoding="utf-8"); f.write(lines); b = f.detach(); b.write(data)',
        content=LINES * 2,
    ),
    "text file of one's own": Pattern('f = io.TextIOWrapper(llmzip.open(path, "wb"), "utf-8"); f.write(lines)'),
    "buffer of one's own": Pattern('f = io.BufferedWriter(llmzip.open(path, "wb")); f.write(data)'),
    "text over a buffer": Pattern(
        'f = io.TextIOWrapper(io.BufferedWriter(llmzip.open(path, "wb")), "utf-8"); f.write(lines)'
    ),
    "file object": Pattern('f = llmzip.LmzFile(open(path, "wb"), "w"); f.write(data)'),
    "file object that is kept": Pattern('raw = open(path, "wb"); f = llmzip.LmzFile(raw, "w"); f.write(data)'),
    "logging": Pattern(
        'h = logging.StreamHandler(llmzip.open(path, "wt", encoding="utf-8")); '
        'logging.basicConfig(handlers=[h], format="%(message)s")\n'
        'for i in range(5): logging.warning("%s", text[:-1])'
    ),
    "logging that is buffered": Pattern(
        'from logging.handlers import MemoryHandler\nf = llmzip.open(path, "wt", encoding="utf-8")\n'
        "h = MemoryHandler(100, target=logging.StreamHandler(f)); logging.basicConfig(handlers=[h])\n"
        'for i in range(5): logging.warning("%s", text[:-1])'
    ),
    "logging that was imported before": Pattern(
        'f = llmzip.open(path, "wt", encoding="utf-8")\n'
        "h = MemoryHandler(100, target=logging.StreamHandler(f)); logging.basicConfig(handlers=[h])\n"
        'for i in range(5): logging.warning("%s", text[:-1])',
        code_before="import logging\nfrom logging.handlers import MemoryHandler",
    ),
    "standard output replaced": Pattern(
        'sys.stdout = llmzip.open(path, "wt", encoding="utf-8")\nfor i in range(5): print(text, end="")'
    ),
    # Other things that run at exit
    "written at exit, registered after": Pattern('f = llmzip.open(path, "wb"); atexit.register(f.write, data)'),
    "written at exit, registered before": Pattern(
        'f = llmzip.open(path, "wb"); f.write(data)',
        code_before="import atexit\natexit.register(lambda: f.write(data))",
        content=LINES * 2,
    ),
    "closed at exit, registered before": Pattern(
        'f = llmzip.open(path, "wb"); f.write(data)', code_before="import atexit\natexit.register(lambda: f.close())"
    ),
    "closed by another's __del__": Pattern(
        "class C:\n    def __del__(self): self.f.write(data); self.f.close()\n"
        'c = C(); c.f = llmzip.open(path, "wb"); c.f.write(data)',
        content=LINES * 2,
    ),
    # Children: what the parent has begun, the parent ends
    "child: os._exit": Pattern(FORK + "if os.fork() == 0: os._exit(0)\nos.wait(); f.write(data)", content=LINES * 2),
    "child: end of the script": Pattern(
        FORK + "if os.fork() == 0: sys.exit(0)\nos.wait(); f.write(data)", content=LINES * 2
    ),
    "child: with": Pattern(
        'with llmzip.open(path, "wb") as f:\n    f.write(data)\n    if os.fork() == 0: sys.exit(0)\n'
        "    os.wait(); f.write(data)",
        content=LINES * 2,
    ),
    "child: ends last": Pattern(
        "r, w = os.pipe()\n" + FORK + "if os.fork() == 0:\n    os.close(w); os.read(r, 1); sys.exit(0)\nf.write(data)",
        content=LINES * 2,
    ),
    "child: text": Pattern(
        'f = llmzip.open(path, "wt", encoding="utf-8"); f.write(lines)\nif os.fork() == 0: sys.exit(0)\n'
        "os.wait(); f.write(lines)",
        content=LINES * 2,
    ),
    "child: text and with": Pattern(
        'with llmzip.open(path, "wt", encoding="utf-8") as f:\n    f.write(lines)\n'
        "    if os.fork() == 0: sys.exit(0)\n    os.wait(); f.write(lines)",
        content=LINES * 2,
    ),
    "child: text file of one's own": Pattern(
        'f = io.TextIOWrapper(llmzip.open(path, "wb"), "utf-8"); f.write(lines)\n'
        "if os.fork() == 0: sys.exit(0)\nos.wait(); f.write(lines)",
        content=LINES * 2,
    ),
    "child: collected": Pattern(
        FORK + "if os.fork() == 0:\n    del f; os._exit(0)\nos.wait(); f.write(data)", content=LINES * 2
    ),
    "child: closed": Pattern(
        FORK + "if os.fork() == 0:\n    f.close(); os._exit(0)\nos.wait(); f.write(data)", content=LINES * 2
    ),
    "child: flushed": Pattern(
        FORK + "if os.fork() == 0:\n    f.flush(); os._exit(0)\nos.wait(); f.write(data)", content=LINES * 2
    ),
    "child: exception": Pattern(
        FORK + "if os.fork() == 0:\n    sys.stderr.close(); raise RuntimeError\nos.wait(); f.write(data)",
        content=LINES * 2,
    ),
    "child: after blocks that are written": Pattern(
        'f = llmzip.open(path, "wb", block_size=100); f.write(data)\nif os.fork() == 0: sys.exit(0)\n'
        "os.wait(); f.write(data)",
        content=LINES * 2,
    ),
    "child: goes on in its parent's place": Pattern(
        'f = llmzip.open(path, "wb", threads=1); f.write(data); r, w = os.pipe()\n'
        "if os.fork(): os.close(w); os.read(r, 1); os._exit(0)\nf.write(data)",
        content=LINES * 2,
    ),
    "child: goes on with text": Pattern(
        'f = llmzip.open(path, "wt", encoding="utf-8", threads=1); f.write(lines); r, w = os.pipe()\n'
        "if os.fork(): os.close(w); os.read(r, 1); os._exit(0)\nf.write(lines)",
        content=LINES * 2,
    ),
    "multiprocessing: fork": Pattern(
        FORK + 'import multiprocessing as m\np = m.get_context("fork").Process(target=len, args=("",)); p.start(); '
        "p.join(); f.write(data)",
        content=LINES * 2,
    ),
    "multiprocessing: fork, text": Pattern(
        'f = llmzip.open(path, "wt", encoding="utf-8"); f.write(lines)\nimport multiprocessing as m\n'
        'p = m.get_context("fork").Process(target=len, args=("",)); p.start(); p.join(); f.write(lines)',
        content=LINES * 2,
    ),
    "multiprocessing: pool": Pattern(
        FORK + 'import multiprocessing as m\nwith m.get_context("fork").Pool(2) as pool: pool.map(len, ["a", "b"])\n'
        "f.write(data)",
        content=LINES * 2,
    ),
    "multiprocessing: executor": Pattern(
        FORK + "import concurrent.futures as c, multiprocessing as m\n"
        'with c.ProcessPoolExecutor(2, m.get_context("fork")) as pool: list(pool.map(len, ["a", "b"]))\nf.write(data)',
        content=LINES * 2,
    ),
    "multiprocessing: writer of the child": Pattern(
        "import multiprocessing as m\ndef g():\n"
        "    global f; f = llmzip.open(path, 'wb', threads=1); f.write(data); f.flush()\n"
        'p = m.get_context("fork").Process(target=g); p.start(); p.join()',
    ),
    "subprocess": Pattern(
        FORK + "import subprocess\nsubprocess.run([sys.executable, '-c', '']); f.write(data)", content=LINES * 2
    ),
}


def run(pattern: Pattern, folder: Path, *options: str) -> str:
    """What is wrong with what this pattern leaves; empty if nothing is."""
    path = folder / "out.lmz"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, *options, "-c", pattern.code_before + HEAD + pattern.code, str(path)]
    try:
        done = subprocess.run(command, timeout=TIMEOUT, capture_output=True, text=True, env=environment)
    except subprocess.TimeoutExpired:
        return "hangs"
    if done.returncode != pattern.exit_code:
        return f"exit code {done.returncode}: {done.stderr[-500:]}"
    try:
        content = llmzip.decompress(path.read_bytes())
    except llmzip.LlmzipError as error:
        return f"{type(error).__name__}: {error}; {done.stderr[-500:]}"
    return "" if content == pattern.content else f"{len(content)} bytes of {len(pattern.content)}; {done.stderr[-500:]}"


def main(n_runs: int, names: list[str]) -> None:
    n_wrong = 0
    for name in names or PATTERNS:
        begin = time.monotonic()
        wrong = []
        for _ in range(n_runs):
            with tempfile.TemporaryDirectory() as folder:
                if found := run(PATTERNS[name], Path(folder)):
                    wrong.append(found)
        n_wrong += len(wrong)
        print(
            f"{name}: {n_runs - len(wrong)} of {n_runs} complete, {time.monotonic() - begin:.0f} s {wrong[:1]}",
            flush=True,
        )
    print(f"{n_wrong} wrong")
    sys.exit(n_wrong > 0)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100, sys.argv[2:])
