"""llmzip.deflate: zlib is the oracle. What it writes comes out of two or three bytes of parameters.

What others write does with corrections; C and Python say the same; what is damaged or would be slow is refused.
"""

import ast
import importlib
import random
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import mostly_long

from llmzip import deflate, native
from llmzip.deflate import Opened, State, close_stream, fused, open_stream, reference
from llmzip.deflate.corrections import most_bytes
from llmzip.deflate.parameters import EXACT, LAST, PRESETS, Head, parse_head
from llmzip.errors import FormatError

MAX = 1 << 24
FOLDER = Path(deflate.__file__).parent
needs_kernels = pytest.mark.skipif(native.library is None, reason="no compiled kernels: the twin alone is slow")


def words(n: int, seed: int = 1) -> bytes:
    """Text of a kind: words that come again."""
    rng = random.Random(seed)
    known = [bytes(rng.choices(b"etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(300)]
    return b" ".join(rng.choices(known, weights=[1 / (i + 1) for i in range(300)], k=n // 4))[:n]


def kinds(n: int) -> dict[str, bytes]:
    rng = random.Random(n)
    return {
        "words": words(n),
        "random": rng.randbytes(n),
        "zeros": bytes(n),
        "few": bytes(rng.choices(b"ab", k=n)),
        "records": b"".join(i.to_bytes(4, "little") + b"\0\1\2" for i in range(n // 7)),
        "mixed": words(n // 3) + rng.randbytes(n // 3) + words(n // 3, 2),
    }


def by_zlib(
    data: bytes,
    level: int = 6,
    memory: int = 8,
    window: int = 15,
    strategy: int = 0,
    flushes: dict[int, int] | None = None,
) -> bytes:
    """Raw deflate. flushes: where, and which."""
    coder = zlib.compressobj(level, zlib.DEFLATED, -window, memory, strategy)
    made, at = b"", 0
    for place, kind in sorted((flushes or {}).items()):
        made += coder.compress(data[at:place]) + coder.flush(kind)
        at = place
    return made + coder.compress(data[at:]) + coder.flush()


def opened(stream: bytes, data: bytes) -> Opened:
    """Found in the midst of something else, it holds the data and is closed again."""
    found = open_stream(b"before" + stream + b"after", 6, max_plain=MAX)
    assert found is not None
    assert (found.plain, found.size, found.state) == (data, len(stream), None)
    assert close_stream(data, found.recipe) == (stream, None)
    return found


def is_exact(recipe: bytes) -> bool:
    return parse_head(recipe)[0].exact


# zlib


@pytest.mark.parametrize("memory", mostly_long(range(1, 10), {8, 9}))
@pytest.mark.parametrize("level", range(1, 10))
def test_levels_and_memories(level: int, memory: int) -> None:
    for name, data in kinds(40_000).items():
        if level < 8 or name not in ("few", "records"):  # what may be too slow to be opened
            assert len(opened(by_zlib(data, level, memory), data).recipe) <= 3


@needs_kernels
@pytest.mark.parametrize("strategy", range(5))
@pytest.mark.parametrize("window", mostly_long(range(9, 16), {9, 12, 15}))
def test_windows_and_strategies(window: int, strategy: int) -> None:
    for name, data in kinds(40_000).items():
        for level in (1, 4, 6):
            assert is_exact(opened(by_zlib(data, level, 8, window, strategy), data).recipe), (name, level)


@needs_kernels
@pytest.mark.parametrize("level", [1, 3, 4, 6, 9])
def test_where_the_window_slides(level: int) -> None:
    rng = random.Random(level)
    text = words(140_000)
    for _ in range(30):
        data = text[: rng.choice([32768, 65274, 65536, 98304, 131072]) + rng.randint(-300, 300)]
        assert is_exact(opened(by_zlib(data, level), data).recipe)


PIECES = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda piece, n: piece * n, st.binary(min_size=1, max_size=6), st.integers(1, 2000)),
    st.builds(lambda n, seed: words(n, seed), st.integers(0, 5000), st.integers(0, 3)),
)
DATA = st.lists(PIECES, max_size=6).map(b"".join)


@needs_kernels
@settings(deadline=None, max_examples=300)
@given(DATA, st.integers(1, 9), st.integers(1, 9), st.integers(9, 15), st.integers(0, 4))
def test_zlib_of_anything(data: bytes, level: int, memory: int, window: int, strategy: int) -> None:
    stream = by_zlib(data, level, memory, window, strategy)
    recipe = opened(stream, data).recipe
    assert is_exact(recipe) or (memory < 7 and len(recipe) < 50)  # in one block nothing says the memory


@needs_kernels
@settings(deadline=None, max_examples=200)
@given(DATA, st.integers(1, 9), st.dictionaries(st.integers(0, 6000), st.sampled_from([1, 2, 3]), max_size=5))
def test_flushes(data: bytes, level: int, flushes: dict[int, int]) -> None:
    """Z_PARTIAL_FLUSH, Z_SYNC_FLUSH, Z_FULL_FLUSH.

    In a short stream, what they leave may be more than what they are worth.
    """
    stream = by_zlib(data, level, flushes=flushes)
    found = open_stream(stream, max_plain=MAX)
    assert found is None or close_stream(data, found.recipe) == (stream, None)
    assert found is not None or len(stream) < 400


@needs_kernels
@pytest.mark.parametrize("kind", [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH])
@pytest.mark.parametrize("level", [1, 6])
def test_regular_flushes_cost_little(level: int, kind: int) -> None:
    data = words(300_000)
    stream = by_zlib(data, level, flushes={at: kind for at in range(4096, len(data), 4096)})
    assert len(opened(stream, data).recipe) < len(stream) / 500


@needs_kernels
def test_level_0() -> None:
    """Stored blocks, as long as the output's room was."""
    for data in kinds(200_000).values():
        assert len(opened(by_zlib(data, 0), data).recipe) < 40


@needs_kernels
def test_office() -> None:
    """Microsoft's: level 1 of much memory, then a flush."""
    for data in kinds(50_000).values():
        recipe = opened(by_zlib(data, 1, 9, flushes={len(data): zlib.Z_SYNC_FLUSH}), data).recipe
        assert is_exact(recipe) and len(recipe) == 2


# Others


@needs_kernels
@pytest.mark.skipif(shutil.which("gzip") is None, reason="no gzip")
@pytest.mark.parametrize("level", range(1, 10))
def test_gzip(level: int) -> None:
    rng = random.Random(level)
    lengths = [0, 1, 1000, 65275, 65400, 65536, 98200, 400_000, *(rng.randrange(200_000) for _ in range(5))]
    for n in lengths:
        data = words(n // 2) + rng.randbytes(n // 8) + words(n, 3)[: n - n // 2 - n // 8]
        file = subprocess.run(["gzip", "-n", f"-{level}"], input=data, capture_output=True, check=True).stdout
        recipe = opened(file[10:-8], data).recipe
        assert len(recipe) < 3 + len(file) / 300


def _by_7zz(level: int) -> Callable[[bytes], bytes]:
    def made(data: bytes) -> bytes:
        if shutil.which("7zz") is None:
            pytest.skip("no 7zz")
        line = ["7zz", "a", "-tgzip", f"-mx={level}", "-si", "-so", "x"]
        file = subprocess.run(line, input=data, capture_output=True, check=True).stdout
        return file[10 + (file.index(b"\0", 10) - 9 if file[3] & 8 else 0) : -8]

    return made


def _by_node(level: int) -> Callable[[bytes], bytes]:
    code = "const z=require('zlib'),c=[];process.stdin.on('data',d=>c.push(d)).on('end',()=>process.stdout.write("
    code += f"z.deflateRawSync(Buffer.concat(c),{{level:{level}}})))"

    def made(data: bytes) -> bytes:
        if shutil.which("node") is None:
            pytest.skip("no node")
        return subprocess.run(["node", "-e", code], input=data, capture_output=True, check=True).stdout

    return made


def _by(module: str, call: Callable[[Any, bytes], bytes]) -> Callable[[bytes], bytes]:
    """With a package that need not be there."""
    return lambda data: bytes(call(pytest.importorskip(module), data))


def _by_zlib_ng(level: int) -> Callable[[bytes], bytes]:
    return _by("zlib_ng.zlib_ng", lambda module, data: module.compress(data, level)[2:-4])


PRODUCERS: dict[
    str, tuple[Callable[[bytes], bytes], float]
] = {  # and the largest part of the stream that corrections may be
    "node 1": (_by_node(1), 0.01),
    "node 6": (_by_node(6), 0.003),
    "node 9": (_by_node(9), 0.003),
    "7-Zip 1": (_by_7zz(1), 0.01),
    "7-Zip 5": (_by_7zz(5), 0.2),
    "zopfli": (_by("zopfli.zlib", lambda module, data: module.compress(data)[2:-4]), 0.2),
    "libdeflate 1": (_by("deflate", lambda module, data: module.deflate_compress(data, 1)), 0.01),
    "libdeflate 6": (_by("deflate", lambda module, data: module.deflate_compress(data, 6)), 0.05),
    "libdeflate 12": (_by("deflate", lambda module, data: module.deflate_compress(data, 12)), 0.2),
    "isal 1": (_by("isal.igzip_lib", lambda module, data: module.compress(data, 1, module.COMP_DEFLATE)), 0.2),
    "isal 3": (_by("isal.igzip_lib", lambda module, data: module.compress(data, 3, module.COMP_DEFLATE)), 0.1),
    "zlib-ng 2": (_by_zlib_ng(2), 0.02),
    "zlib-ng 6": (_by_zlib_ng(6), 0.04),
    "zlib-ng 9": (_by_zlib_ng(9), 0.02),
    "miniz 1": (_by("cramjam", lambda module, data: bytes(module.deflate.compress(data, level=1))), 0.02),
    "miniz 6": (_by("cramjam", lambda module, data: bytes(module.deflate.compress(data, level=6))), 0.02),
}


@needs_kernels
@pytest.mark.parametrize("name", PRODUCERS)
def test_other_producers(name: str) -> None:
    make, most = PRODUCERS[name]
    data = b"".join(path.read_bytes() for path in sorted(FOLDER.glob("*.py")))
    stream = make(data)
    assert zlib.decompress(stream, -15) == data
    assert len(opened(stream, data).recipe) < most * len(stream)


def foreign(rng: random.Random, data: bytes) -> bytes:
    """Several producers, one after the other, and padding that is not zero."""
    coders = [
        zlib.compressobj(rng.randint(0, 9), zlib.DEFLATED, -15, rng.randint(1, 9), rng.randint(0, 4)) for _ in range(3)
    ]
    cuts = sorted(rng.randrange(len(data) + 1) for _ in coders[1:])
    parts = zip(coders, [0, *cuts], [*cuts, len(data)], strict=True)
    made = [coder.compress(data[a:b]) + coder.flush(zlib.Z_SYNC_FLUSH) for coder, a, b in parts]
    return b"".join(made) + bytes([3, rng.randrange(64) << 2])  # an empty final block, and padding that is not zero


# C and Python


def swapped(engine: Any, run: Callable[[], Any]) -> Any:
    before, deflate.engine = deflate.engine, engine
    try:
        return run()
    finally:
        deflate.engine = before


def all_pieces(stream: bytes, max_plain: int) -> Iterator[tuple[Any, ...]]:
    at, state = 0, None
    while found := open_stream(stream, at, max_plain=max_plain, before=state):
        state = found.state
        yield found.plain, found.recipe, found.size, state and (state.window, state.lead, state.reach, state.marks)
        at += found.size
        if state is None:
            return


@needs_kernels
@pytest.mark.parametrize("seed", mostly_long(range(40), range(10)))
def test_twins(seed: int) -> None:
    rng = random.Random(seed)
    data = rng.choice(list(kinds(rng.choice([30, 700, 3000])).values()))
    if seed % 4 == 0:
        stream = foreign(rng, data)
    else:
        places = {rng.randrange(len(data)): rng.choice([1, 2, 3]) for _ in range(rng.choice([0, 0, 1, 4]))}
        stream = by_zlib(data, rng.randint(1, 9), rng.randint(1, 9), rng.randint(9, 15), rng.randint(0, 4), places)
    most = rng.choice([MAX, len(data) // 2 + 1])
    found = [swapped(engine, lambda: list(all_pieces(stream, most))) for engine in (fused, reference)]
    assert found[0] == found[1]


@needs_kernels
@pytest.mark.parametrize("parameters", PRESETS[::7] + PRESETS[-26:], ids=lambda each: None)
def test_twins_by_parameters(parameters: Any) -> None:
    """What any producer's rules say of a stream that is not its own."""
    data = words(2500) + bytes(900) + words(900, 2) + random.Random(1).randbytes(200)
    stream = by_zlib(data, 5)
    said: list[Any] = []
    for engine in (fused, reference):
        found = engine.inflate(stream, 0, MAX, None)
        recipe = found.corrections(parameters, len(stream))
        said.append(
            (
                found.misses(parameters, 1000, 1000),
                found.misses(parameters, 50, 7),
                found.is_exact(parameters, tail=False),
                recipe,
            )
        )
        head = Head(parameters, False, True)
        assert engine.read(data, head, recipe, None) == (stream, None)
    assert said[0] == said[1]


@needs_kernels
@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60), st.binary(min_size=1, max_size=40), st.integers(0, 2))
def test_twins_of_damage(plain: bytes, recipe: bytes, before: int) -> None:
    """Whatever a recipe says, both make the same of it."""
    state = [None, State(b""), State(b"abcabcabd" * 40)][before]
    said: list[Any] = []
    for engine in (fused, reference):
        try:
            closed, after = swapped(engine, lambda: close_stream(plain, recipe, state))
            assert len(closed) <= most_bytes(len(plain))
            said.append((closed, after and (after.window, after.lead, after.reach, after.marks)))
        except FormatError as error:
            said.append(str(error))
    assert said[0] == said[1]


# Pieces


@needs_kernels
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("level", [1, 4, 6, 9])
def test_pieces(level: int, alone: bool) -> None:
    data = words(900_000)
    stream = by_zlib(data, level)
    at, state, closed, recipes, exact = 0, None, b"", 0, 0
    plain = b""
    before: State | None = None
    while True:
        found = open_stream(stream, at, max_plain=200_000, before=state)
        assert found is not None and 0 < len(found.plain) <= 200_000
        part, after = close_stream(found.plain, found.recipe, before)
        assert part == stream[at : at + found.size]
        at, closed, plain, recipes, exact = (
            at + found.size,
            closed + part,
            plain + found.plain,
            recipes + len(found.recipe),
            exact + is_exact(found.recipe),
        )
        if found.state is None:
            assert after is None
            break
        assert after is not None
        state = found.state.alone if alone else found.state
        before = State(plain[-32768:]) if alone else after
    assert (closed, plain) == (stream, data)
    assert recipes < len(stream) / (50 if alone and level == 1 else 1000)


@needs_kernels
def test_a_block_that_does_not_fit_is_not_opened() -> None:
    data = words(200_000)
    assert open_stream(by_zlib(data), max_plain=1000) is None


def test_a_piece_stands_where_it_was() -> None:
    found = open_stream(by_zlib(b"abc" * 20), max_plain=MAX)
    assert found is not None
    with pytest.raises(FormatError):
        close_stream(found.plain, found.recipe, State(b"x"))
    with pytest.raises(ValueError, match="32768"):
        State(bytes(32769))


# What is no stream, and what is no recipe


@needs_kernels
@pytest.mark.parametrize(("step", "n_damaged"), mostly_long([(7, 2000), (23, 600)], [(23, 600)]))
def test_cut_and_damaged_streams(step: int, n_damaged: int) -> None:
    data = words(5000)
    stream = by_zlib(data)
    rng = random.Random(1)
    for n in range(0, len(stream), step):
        assert open_stream(stream[:n], max_plain=MAX) is None
    for _ in range(n_damaged):
        damaged = bytearray(stream)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(min(len(damaged), 200))] ^= 1 << rng.randrange(8)
        found = open_stream(damaged, max_plain=MAX)
        if found is not None:
            assert zlib.decompressobj(-15).decompress(damaged) == found.plain
            assert close_stream(found.plain, found.recipe)[0] == damaged[: found.size]


@needs_kernels
def test_noise_is_told_as_zlib_tells_it() -> None:
    rng = random.Random(2)
    n_valid = 0
    for _ in range(20_000):
        noise = rng.randbytes(rng.choice([5, 50, 300]))
        noise = bytes([noise[0] & 0xF8 | rng.choice([3, 5])]) + noise[1:]
        found = open_stream(noise, max_plain=MAX)
        inflater = zlib.decompressobj(-15)
        try:
            plain = inflater.decompress(noise)
            valid = inflater.eof
        except zlib.error:
            valid = False
        assert valid or found is None
        if found is not None:
            assert found.plain == plain and close_stream(plain, found.recipe)[0] == noise[: found.size]
            n_valid += 1
    assert n_valid > 5


@pytest.mark.long
@needs_kernels
def test_foreign_streams() -> None:
    """Each against the rules of the others."""
    for seed in range(30):
        rng = random.Random(seed)
        data = rng.choice(list(kinds(rng.choice([3000, 20_000])).values()))
        stream = foreign(rng, data)
        found = open_stream(stream, max_plain=MAX)
        assert found is None or (found.plain == data and close_stream(data, found.recipe) == (stream, None))


@needs_kernels
def test_forged_recipes() -> None:
    """FormatError, or another stream that is not much larger than what it holds."""
    data = words(20_000)
    rng = random.Random(3)
    recipes = [
        b"",
        *(
            found.recipe
            for found in map(
                lambda stream: opened(stream, data), [by_zlib(data, level, flushes={900: 2}) for level in (1, 6)]
            )
        ),
    ]
    n_refused = 0
    for _ in range(3000):
        forged = bytearray(rng.choice(recipes) + rng.randbytes(rng.choice([0, 0, 1, 30])))
        for _ in range(rng.randint(1, 4)):
            if forged:
                forged[rng.randrange(len(forged))] = rng.choice([0, 255, rng.randrange(256)])
        state = rng.choice([None, None, State(data[:5000]), State(b"")])
        try:
            closed, _ = close_stream(data[: rng.choice([0, 1, 300, 20_000])], bytes(forged), state)
            assert len(closed) <= most_bytes(len(data))
        except FormatError:
            n_refused += 1
    assert n_refused > 1000


@needs_kernels
def test_slow_streams_stay_closed() -> None:
    """Two letters at random make zlib's level 9 look at every candidate; so would we, on the way back."""
    data = bytes(random.Random(1).choices(b"ab", k=300_000))
    assert open_stream(by_zlib(data, 6), max_plain=MAX) is not None
    assert open_stream(by_zlib(data, 9), max_plain=MAX) is None
    level = PRESETS.index(parse_head(opened(by_zlib(words(50_000), 9), words(50_000)).recipe)[0].parameters)
    with pytest.raises(FormatError):
        close_stream(data, bytes([EXACT | LAST, level]))


@needs_kernels
def test_a_heap_of_empty_blocks_stays_closed() -> None:
    four = b"\2\x08\x20\x80\0"  # of ten bits: not final, fixed, end of block
    stream = four * 40_000 + b"\3\0"
    assert zlib.decompress(stream, -15) == b""
    assert open_stream(stream, max_plain=MAX) is None
    assert open_stream(stream[:500] + b"\3\0", max_plain=MAX) is not None


def test_no_zlib_inside() -> None:
    for path in FOLDER.glob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(str(node.module).partition(".")[0])
        assert not names & {"zlib", "gzip", "zipfile", "binascii"}, path


@pytest.mark.parametrize("data", [b"", b"a", b"abcabcabcabc" * 20])
def test_without_kernels(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deflate, "engine", reference)
    assert is_exact(opened(by_zlib(data), data).recipe)


def test_the_engine_is_the_library_where_there_is_one() -> None:
    fresh = importlib.import_module("llmzip.deflate")
    assert fresh.engine is (fused if native.library is not None else reference)


def test_what_is_too_dear_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for a long first block is no second chance for a stream whose corrections do not pay."""
    asked: list[int] = []
    monkeypatch.setattr(deflate, "guess", lambda stream, most, before: asked.append(most))
    stream = by_zlib(words(20_000), 6)
    assert open_stream(stream, max_plain=1 << 20, max_first=1 << 23) is None and len(asked) == 1
    assert open_stream(stream, max_plain=5000, max_first=1 << 23) is None and len(asked) == 2
    assert open_stream(stream, max_plain=5000) is None and len(asked) == 2
