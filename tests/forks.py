"""Fork after a model was used, in the ways that servers, pools and data loaders do it.

`python tests/forks.py [RUNS] [PATTERN...]`.

Each run is a fresh process with a time limit of its own; its children compress and decompress and compare with what the
parent has made.
Prints for each pattern how many runs were right, wrong, or hung.
"""

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT = 120  # seconds, of which a run takes one or two
START = """
import multiprocessing, os, sys, threading
import llmzip
from llmzip.models import registry
seed = int(sys.argv[1])
TEXT = b"some text here, a sentence or two. " * (9 + seed % 40)
def work(packed=None):
    if packed is None:
        packed = llmzip.compress(TEXT)
    assert llmzip.decompress(packed) == TEXT
    return packed
def child(*args):
    pid = os.fork()
    if not pid:
        try:
            work(*args)
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    return pid
def ended(pid):
    assert os.waitpid(pid, 0)[1] == 0
if __name__ == "__main__":
"""
PATTERNS = {
    "loaded, then fork": "registry.load('pocket'); ended(child())",
    "compressed, then fork": "ended(child(work()))",
    "compressed by one thread, then fork": "p = llmzip.compress(TEXT, threads=1); ended(child(p))",
    "torch operations, then fork": """
        from llmzip.models.reference import ReferenceState
        import numpy as np
        model = registry.load('pocket')
        ids = np.arange(1, 9, dtype=np.int32)[None]
        scores = model.open_reference(1, 64).forward(ids)
        pid = os.fork()
        if not pid:
            os._exit(not np.array_equal(model.open_reference(1, 64).forward(ids), scores))
        ended(pid)""",
    "torch operations in whole blocks, then fork": """
        model = registry.load('pocket'); model._fused = None
        packed = llmzip.compress(TEXT[:300], model)
        pid = os.fork()
        if not pid:
            os._exit(llmzip.compress(TEXT[:300], model) != packed or llmzip.decompress(packed, model) != TEXT[:300])
        ended(pid)""",
    "torch was used before, then fork": """
        import torch
        torch.set_num_threads(2); torch.ones(3_000_000).add_(1)
        ended(child())""",
    "torch was used before and llmzip imported, then fork": """
        import torch
        torch.set_num_threads(2); torch.ones(3_000_000).add_(1)
        from llmzip import native
        ended(child())""",
    "torch was used between, then fork": """
        registry.load('pocket', threads=1)
        import torch
        torch.set_num_threads(2); torch.ones(3_000_000).add_(1)
        ended(child())""",
    "fork in another thread": """
        packed = work()
        other = threading.Thread(target=lambda: ended(child(packed))); other.start(); other.join()""",
    "fork by C": """
        import ctypes
        packed = work()
        pid = ctypes.PyDLL(None).fork()
        if not pid: os._exit(work(packed) != packed)
        ended(pid)""",
    "fork of a fork": """
        packed = work()
        pid = os.fork()
        if not pid:
            ended(child(packed)); work(packed); os._exit(0)
        ended(pid)""",
    "many children of a server that has loaded": """
        model = registry.load('pocket'); packed = llmzip.compress(TEXT, model)
        for pid in [child(packed if i % 2 else None) for i in range(4)]: ended(pid)
        work(packed)""",
    "threads that compress while it forks": """
        packed = work()
        others = [threading.Thread(target=lambda: [work(packed) for _ in range(3)]) for _ in range(2)]
        for other in others: other.start()
        for pid in [child(packed) for _ in range(3)]: ended(pid)
        for other in others: other.join()""",
    "multiprocessing, fork": """
        packed = work()
        process = multiprocessing.get_context('fork').Process(target=work, args=(packed,))
        process.start()
        process.join()
        assert process.exitcode == 0""",
    "multiprocessing, a pool by fork": """
        packed = work()
        with multiprocessing.get_context('fork').Pool(2) as pool:
            assert pool.map(work, [packed, None, packed]) == [packed] * 3""",
    "a pool of futures by fork": """
        from concurrent.futures import ProcessPoolExecutor
        packed = work()
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context('fork')) as pool:
            assert list(pool.map(work, [packed, None, packed])) == [packed] * 3""",
    "a file that was opened before": """
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'x.lmz')
            with llmzip.open(path, 'wb') as file: file.write(TEXT)
            with llmzip.open(path) as file:
                assert file.read(7) == TEXT[:7]
                pid = os.fork()
                if not pid: os._exit(file.read() != TEXT[7:])
                ended(pid)""",
    "multiprocessing, spawn": """
        packed = work()
        with multiprocessing.get_context('spawn').Pool(1) as pool:
            assert pool.map(llmzip.decompress, [packed]) == [TEXT]""",
}
SLOW = {
    "multiprocessing, spawn", "threads that compress while it forks", "multiprocessing, a pool by fork",
    "torch was used before and llmzip imported, then fork", "torch was used between, then fork",
}  # fmt: skip


def try_pattern(pattern: str, seed: int) -> str:
    """One run: "right", "hung", or what it printed."""
    lines = PATTERNS[pattern].split("\n")
    body = "\n".join("    " + (line[8:] if i else line) for i, line in enumerate(lines))
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", START + body + "\n", str(seed)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        printed, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        subprocess.run(["pkill", "-9", "-s", str(process.pid)])
        process.communicate()
        return "hung"
    return "right" if process.returncode == 0 else printed.decode()


def main() -> int:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    rng = random.Random(11)
    wrong = 0
    for pattern in sys.argv[2:] or PATTERNS:
        found = Counter(try_pattern(pattern, rng.randrange(1000)) for _ in range(runs))
        wrong += runs - found["right"]
        print(f"{pattern}: {dict(found)}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
