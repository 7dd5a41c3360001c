"""llmzip.explain: parts sum to the file, whatever it is made of, pieces to parts; JSON and page say what was found."""

import base64
import json
import random
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import invented_text, tiny_llama_folder
from coding import cm_block, grouped, member_of, model_block
from commands import Run
from opened import gzipped, prose
from test_predictor import KINDS, SPELLING, lanes_of, scores_of
from tiers import mostly_long

import llmzip
from llmzip import container, cuts
from llmzip.blocks import Memory
from llmzip.errors import LlmzipError
from llmzip.explain import Explanation, account, explain
from llmzip.explain.page import page
from llmzip.explain.record import record
from llmzip.explain.watching import BYTE, credit, shared_out
from llmzip.models.toy import ToyModel
from llmzip.predictor import prior
from llmzip.predictor.fused import Fused
from llmzip.predictor.recording import RECORD
from llmzip.predictor.reference import Reference
from llmzip.stream import LmzCompressor, ModelSource

MODEL = ToyModel()
TEXT = invented_text(160)  # some 1000 bytes
NOISE = random.Random(1).randbytes(4500)
RECORDS = b"".join(b"%04d" % i + bytes([i % 7, 255 - i % 5]) for i in range(250))
OPENED = gzipped(prose(2000))
SCHEMA = json.loads((Path(account.__file__).parent / "schema.json").read_text("utf-8"))
TEMPLATE = (Path(account.__file__).parent / "page.html").read_text("utf-8")


def compressed(data: bytes, **options: Any) -> bytes:
    coder = LmzCompressor(MODEL, **options)
    return coder.compress(data) + coder.flush()


def of_blocks(
    content: bytes, maker: Callable[..., container.Block], size: int = 1 << 20, begins: tuple[int, ...] = ()
) -> bytes:
    contents = [content[at : at + size] for at in range(0, len(content), size)]
    return member_of(grouped(contents, maker, begins), contents, MODEL.fingerprint)


def by_model(content: bytes, memory: Any) -> container.Block:
    return model_block(MODEL, content, memory, lanes=3)


PAGE = bytes(random.Random(5).choices(b"etaoin \n", k=4500))
FILES: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "empty": (b"", compressed),
    "short stored": (b"\xff\x00\x80", compressed),
    "short cm": (TEXT[:300], partial(compressed, share=0)),
    "short model": (TEXT[:300], compressed),
    "stored": (NOISE, compressed),
    "records": (RECORDS, compressed),
    "cm": (TEXT, partial(compressed, share=0)),
    "model": (TEXT, partial(of_blocks, maker=by_model)),
    "several blocks": (TEXT, partial(compressed, block_size=400)),
    "groups": (TEXT[:600], partial(of_blocks, maker=by_model, size=200, begins=(2,))),
    "groups of cm": (TEXT[:600], partial(of_blocks, maker=cm_block, size=200, begins=(1,))),
    "text and noise": (TEXT + NOISE, compressed),
    "crlf": (TEXT.replace(b" ", b"\r\n", 20), compressed),
    "repeats": (NOISE * 2, compressed),
    "repeats of a group": (PAGE * 3, partial(compressed, share=0, block_size=len(PAGE))),
    "window": (TEXT[:600], partial(compressed, window=24, overlap=8, lanes=2)),
    "opened": (OPENED, partial(compressed, share=0)),
    "opened model": (OPENED, compressed),
    "opened and closed": (TEXT + OPENED + NOISE, compressed),
    "two members": (TEXT[:500] * 2, lambda content: 2 * compressed(content[:500])),
    "padding": (TEXT[:200], lambda content: compressed(content) + bytes(100)),
}
OFTEN = ("empty", "short model", "records", "groups", "opened and closed", "two members")


@lru_cache
def file_of(kind: str) -> tuple[bytes, bytes]:
    """The content of the file of that kind, and the file."""
    content, make = FILES[kind]
    return content, make(content)


@lru_cache
def explained(kind: str) -> Explanation:
    """Of the file of that kind, decoded."""
    return explain(file_of(kind)[1], ModelSource(MODEL))


@pytest.mark.parametrize("kind", mostly_long(FILES, OFTEN))
def test_parts_sum_to_the_file_and_pieces_to_parts(kind: str) -> None:
    content, data = file_of(kind)
    assert llmzip.decompress(data, MODEL) == content
    found = explained(kind)
    assert sum(found.parts.values()) == len(data) * BYTE == found.n_on_disk * BYTE and found.n_bytes == len(content)
    sizes = [block.n_bytes_on_disk for block in llmzip.get_info(data).blocks]
    assert [sum(block.parts.values()) for block in found.blocks] == [size * BYTE for size in sizes]
    coded = ("model", "contexts", "matches", "token ends", "stored")
    assert sum(int(stretch.pieces.costs.sum()) for stretch in found.stretches) == sum(
        found.parts[part] for part in coded
    )
    assert sum(int(stretch.pieces.ends.sum()) for stretch in found.stretches) == found.parts["token ends"]
    assert sum(int(stretch.pieces.lengths.sum()) for stretch in found.stretches) == found.n_body == found.n_detailed
    assert all(-40 < block.parts["coder"] / BYTE < 9 for block in found.blocks)  # so the bits are those of the payload
    each = found.n_body / max(1, len(found.strip))
    assert len(found.strip) == min(1000, found.n_body)
    assert found.strip.sum() * each / 8 == pytest.approx(sum(found.parts[part] for part in coded) / BYTE, rel=0.05)
    valid(record("x", found), SCHEMA)


@pytest.mark.parametrize(
    "kind",
    mostly_long(
        [kind for kind in FILES if kind not in ("two members", "padding", "groups", "groups of cm")],
        ("short model", "model", "records", "repeats of a group", "opened"),
    ),
)
def test_coding_again_tells_what_decoding_tells(kind: str) -> None:
    content, data = file_of(kind)
    assert record("x", explain(data, ModelSource(MODEL), content=content)) == record("x", explained(kind))


@pytest.mark.parametrize("again", [False, True])
def test_a_stream_in_pieces(again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One goes on from the other, in a block after it; what is coded again knows that, too."""
    monkeypatch.setattr(cuts, "LEAST_OPENED", 1 << 12)
    coder = zlib.compressobj(6, zlib.DEFLATED, 31, 2)  # of little memory: its blocks are short
    content = TEXT + coder.compress(prose(9000)) + coder.flush() + TEXT
    data = compressed(content, share=0, block_size=1 << 12)
    assert [block.transforms[:1] for block in llmzip.get_info(data).blocks].count(("open",)) > 1
    found = explain(data, ModelSource(MODEL), content=content if again else None)
    assert sum(found.parts.values()) == len(data) * BYTE and found.n_detailed == found.n_body > len(content)
    assert b"literal" in b"".join(stretch.data for stretch in found.stretches)


@pytest.mark.parametrize("kind", ["cm", "opened"])
def test_other_content_is_refused(kind: str) -> None:
    content, data = file_of(kind)
    with pytest.raises(LlmzipError, match="came out otherwise"):
        explain(data, ModelSource(MODEL), content=content.replace(b"a", b"e"))


def test_kinds_are_told_from_each_other() -> None:
    kinds = ("empty", "short stored", "cm", "model", "padding", "several blocks", "repeats", "crlf", "opened")
    parts = {kind: +explained(kind).parts for kind in kinds}
    assert set(parts["empty"]) == {"headers", "checks"} and set(parts["short stored"]) == {
        "headers",
        "checks",
        "stored",
    }
    assert not {"model", "token ends"} & set(parts["cm"]) and {"contexts", "matches", "side"} <= set(parts["cm"])
    assert {"model", "token ends", "contexts"} <= set(parts["model"])
    assert parts["padding"]["padding"] == 100 * BYTE and "index" in parts["several blocks"]
    assert parts["repeats"]["side"] > 0 and parts["crlf"]["side"] == BYTE
    assert parts["opened"]["side"] > 5 * BYTE and "open" in explained("opened").blocks[0].transforms
    assert parts["empty"] == {"headers": 3 * BYTE, "checks": 4 * BYTE}


def test_a_note_is_a_part(tmp_path: Path) -> None:
    model = ToyModel()
    model.exact, model.engine_note = False, "engine=none"
    data = (coder := LmzCompressor(model)).compress(TEXT) + coder.flush()
    found = explain(data, ModelSource(model))
    assert found.parts["notes"] == (len("engine=none") + 15) * BYTE and sum(found.parts.values()) == len(data) * BYTE


def test_a_coder_that_saves_bytes_is_counted() -> None:
    """Decisions may have more bits than the payload: then that part is below zero, and the sum right all the same."""
    found = [
        explain(data, ModelSource(MODEL))
        for data in (compressed(bytes([i]) * 40 + bytes([i]), share=0) for i in range(24))
    ]
    least = min(found, key=lambda each: each.parts["coder"])
    assert least.parts["coder"] < 0 and sum(least.parts.values()) == least.n_on_disk * BYTE


def test_alternatives_are_what_the_model_says() -> None:
    data = of_blocks(TEXT[:200], lambda content, memory: model_block(MODEL, content, memory))
    (stretch,) = explain(data, ModelSource(MODEL)).stretches
    scores = MODEL.open(1, 64).forward(np.array([[MODEL.start_id]], dtype=np.int32))[0, 0].astype(np.float64)
    chances = np.exp2(scores / 256) / np.exp2(scores / 256).sum()
    best = np.argsort(-chances, kind="stable")[:5]
    assert np.allclose(stretch.pieces.chances[0], chances[best], rtol=1e-4)
    assert {stretch.names[i] for i in stretch.pieces.likely[0]} == {
        MODEL.tokenizer.spelled[MODEL.tokenizer.entries[i]] for i in best
    }
    first = MODEL.tokenizer.encode(TEXT)[0]
    assert stretch.pieces.alone[0] == pytest.approx(chances[list(MODEL.tokenizer.entries).index(first)], rel=1e-4)
    tokens = [MODEL.tokenizer.spelled[i] for i in MODEL.tokenizer.encode(TEXT[:200])]
    assert stretch.pieces.lengths.tolist() == list(map(len, tokens))


def test_what_else_might_have_come_has_all_the_rest() -> None:
    numbers, names = account.ranges()
    assert sorted(names[numbers[ord("a"), bit]] for bit in range(8)) == sorted(
        [b"\x80\xff", b"\x00?", b"@_", b"p\x7f", b"ho", b"dg", b"bc", b"`"]
    )
    (stretch,) = explained("cm").stretches
    chances, own = stretch.pieces.chances.sum(axis=1), np.exp2(-stretch.pieces.costs / (1 << 24))
    assert (chances + own < 1.0001).all() and np.median(chances + own) > 0.99


def test_surprises_are_what_cost_most() -> None:
    found = explained("model")
    costs = np.concatenate([stretch.pieces.costs for stretch in found.stretches])
    assert [each.cost for each in found.surprises] == sorted(costs.tolist(), reverse=True)[:20]
    assert not explained("stored").surprises


def test_shares_sum_exactly() -> None:
    rng = np.random.default_rng(0)
    costs, said = rng.integers(0, 20 << 24, 500), rng.integers(-(1 << 20), 1 << 20, (500, 3)).astype(np.int32)
    said[:50] = 0
    shares = shared_out(costs, said)
    assert np.array_equal(shares.sum(axis=1), costs) and (shares >= 0).all() and shares[:50, 1:].sum() == 0
    saved = credit(costs, said)
    assert np.allclose(saved.sum(axis=1), 1 - costs / (1 << 24))


@pytest.mark.parametrize("lanes", [0, 1, 3])
def test_the_twin_records_the_same(lanes: int) -> None:
    body, both = KINDS["lines"], []
    for engine in (Fused(12, prior.load()), Reference(12, prior.load())):
        engine.open([5], None, 0, b"other", None)  # what is recorded begins with its own body
        engine.code_bytes(5)
        engine.record()
        if lanes:
            parts, sizes = lanes_of(body, lanes)
            engine.open(sizes, SPELLING, 0, body, None)
            told = []
            for step in range(max(map(len, parts))):
                engine.code_step(
                    scores_of(step, lanes),
                    np.array([part[step] if step < len(part) else 0 for part in parts], np.int32),
                    0,
                )
                told.append(engine.recorded())
            both.append(np.concatenate(told))
        else:
            engine.open([len(body)], None, 0, body, None)
            engine.code_bytes(len(body))
            both.append(engine.recorded())
    assert len(both[0]) == len(both[1]) > 8 * len(body) // 2
    for name in RECORD.names or ():
        assert np.array_equal(both[0][name], both[1][name]), name
    assert (
        both[0]["at"].min() == 0
        and both[0]["at"].max() == len(body) - 1
        and (both[0]["said"] != 0).any(axis=0).all() == (lanes > 0)
    )


def test_recording_changes_no_byte() -> None:
    from llmzip.explain.watching import WatchedMemory

    plain = cm_block(TEXT)
    assert cm_block(TEXT, WatchedMemory(container.line_bits_of(len(TEXT)))).payload == plain.payload
    assert (
        model_block(MODEL, TEXT, WatchedMemory(14), lanes=2).payload
        == model_block(MODEL, TEXT, Memory(14), lanes=2).payload
    )


# --- a sample


def test_of_a_long_file_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = explained("several blocks")
    monkeypatch.setattr(account, "MOST_DETAILED", 400)
    monkeypatch.setattr(account, "N_STRETCHES", 8)
    found = explain(file_of("several blocks")[1], ModelSource(MODEL))
    assert found.is_sample and not whole.is_sample and 300 < found.n_detailed < 500 < found.n_body
    assert found.parts == whole.parts and np.array_equal(found.strip, whole.strip)
    assert len(found.stretches) >= 8
    for stretch in found.stretches:
        body = found.blocks[stretch.block]
        assert stretch.data == TEXT[body.content_start + stretch.start :][: len(stretch.data)]
        assert stretch.pieces.lengths.sum() == len(stretch.data)
    assert "This is a sample" in page("x", found) and record("x", found)["is_sample"]


# --- JSON


TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
KEYWORDS = set(
    """$schema $defs title description type additionalProperties required properties items minimum maximum const enum
    allOf oneOf minItems maxItems""".split()
)


def valid(value: Any, schema: dict[str, Any]) -> None:
    """As much of JSON Schema as the schema uses."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return valid(value, SCHEMA["$defs"][name])
    assert set(schema) <= KEYWORDS
    if "type" in schema:
        wanted = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        assert any(
            isinstance(value, TYPES[each]) and (each == "boolean" or not isinstance(value, bool)) for each in wanted
        ), (value, wanted)
    assert "const" not in schema or value == schema["const"]
    assert "enum" not in schema or value in schema["enum"]
    if value is not None and "minimum" in schema:
        assert value >= schema["minimum"], value
    if value is not None and "maximum" in schema:
        assert value <= schema["maximum"], value
    for each in schema.get("allOf", ()):
        valid(value, each)
    if "oneOf" in schema:
        assert sum(all(name in value for name in each["required"]) for each in schema["oneOf"]) == 1, value
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value)
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is False:
            assert set(value) <= set(properties), set(value) - set(properties)
        for name in value.keys() & properties.keys():
            valid(value[name], properties[name])
    if isinstance(value, list):
        assert schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        for each in value:
            valid(each, schema.get("items", {}))


def test_the_schema_can_refuse() -> None:
    good = record("x", explained("model"))
    for wrong in (
        good | {"cost": "1"},
        good | {"more": 1},
        {k: v for k, v in good.items() if k != "parts"},
        good | {"parts": good["parts"] | {"model": 0.5}},
    ):
        with pytest.raises(AssertionError):
            valid(wrong, SCHEMA)
    spoiled = json.loads(json.dumps(good))
    spoiled["stretches"][0]["pieces"][0]["alternatives"][0]["probability"] = 2
    with pytest.raises(AssertionError):
        valid(spoiled, SCHEMA)
    valid(json.loads(json.dumps(good)), SCHEMA)


# --- the page


def meta_and_columns(text: str) -> tuple[dict[str, Any], bytes]:
    meta = re.search(r'<script type="application/json" id="meta">(.*?)</script>', text, re.DOTALL)
    blob = re.search(r'<script type="text/plain" id="blob">(.*?)</script>', text, re.DOTALL)
    assert meta and blob
    return json.loads(meta[1]), zlib.decompress(base64.b64decode(blob[1]))


@pytest.mark.parametrize("kind", mostly_long(FILES, OFTEN))
def test_the_page_has_what_was_found(kind: str) -> None:
    found = explained(kind)
    meta, columns = meta_and_columns(page("a file", found))
    n = meta["pieces"]
    assert len(columns) == 36 * n + found.n_body and columns[36 * n :] == b"".join(
        stretch.data for stretch in found.stretches
    )
    costs = np.frombuffer(columns, "<u2", n) / 256
    assert np.allclose(
        costs,
        np.concatenate([np.zeros(0), *(stretch.pieces.costs / (1 << 24) for stretch in found.stretches)]),
        atol=0.002,
    )
    assert abs(sum(size for _, _, size in meta["parts"]) - len(file_of(kind)[1])) < 0.01
    assert sum(block["size"] for block in meta["blocks"]) <= meta["size"]
    likely = np.frombuffer(columns, "<u2", 5 * n, 14 * n)
    assert all(number == 65535 or number < len(meta["names"]) for number in likely.tolist())


def test_the_page_stands_alone() -> None:
    data = compressed(b"</script><script>alert(1)</script> META BLOB " + TEXT[:100])
    text = page("</script><b>META BLOB", explain(data, ModelSource(MODEL)))
    assert meta_and_columns(text)[0]["file"] == "</script><b>META BLOB"
    assert text.count("</script>") == 3 and "alert(1)" not in text
    assert (
        "http:" not in text
        and "https:" not in text
        and "src=" not in TEMPLATE
        and "url(" not in TEMPLATE
        and "@import" not in TEMPLATE
    )
    assert "default-src 'none'" in text and 'lang="en"' in text


def test_empty_page(tmp_path: Path) -> None:
    meta, columns = meta_and_columns(page("x", explained("empty")))
    assert (meta["pieces"], columns, meta["stretches"]) == (0, b"", [])


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colors_can_be_read_and_told_apart_by_brightness_alone(scheme: str) -> None:
    light, dark = re.findall(r":root \{(.*?)\}", TEMPLATE, re.DOTALL)[:2]
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light if scheme == "light" else dark))
    for i in range(1, 8):
        assert contrast(colors[f"b{i}"], colors[f"f{i}"]) >= 4.5, i
    for ground in ("page", "card", "model", "contexts", "matches"):
        assert contrast(colors[ground], colors["ink"]) >= 4.5, ground
    for ground in ("page", "card"):
        assert contrast(colors[ground], colors["soft"]) >= 4.5 and contrast(colors[ground], colors["accent"]) >= 3
    steps = [luminance(colors[name]) for name in ("page", *(f"b{i}" for i in range(1, 8)))]
    assert steps == sorted(steps, reverse=scheme == "light") and len(set(steps)) == 8


# --- the command


def test_on_a_terminal_a_summary(run: Run) -> None:
    Path("a.txt").write_bytes(TEXT[:500])
    done = run("explain", "a.txt", "-m", "toy")
    assert done.code == 0 and not done.err
    out = done.out.decode()
    size = len(compressed(TEXT[:500]))
    assert out.startswith(f"a.txt: 500 bytes of content, {size} in the file, ") and "model: toy" in out
    assert re.search(rf"^all +{size}\.00 +100\.0 %", out, re.MULTILINE) and "the most surprising places" in out
    shares = [float(each) for each in re.findall(r"(-?[\d.]+) %  ", out.partition("\nall")[0])]
    assert abs(sum(shares) - 100) < 0.5
    assert TEXT[:40].decode() in out


def test_it_steers_no_terminal(run: Run) -> None:
    Path("a\x1b[31m").write_bytes(b"\x1b[2J\x9b\x07 text " * 30)
    done = run("explain", "a\x1b[31m", "-m", "toy")
    assert done.code == 0 and b"\x1b" not in done.out and b"\x07" not in done.out


@pytest.mark.parametrize(
    "kind",
    mostly_long(
        ["empty", "short stored", "short model", "stored", "records", "two members"], ("short model", "records")
    ),
)
def test_the_command_takes_any_file(run: Run, kind: str) -> None:
    content, data = file_of(kind)
    Path("a.lmz").write_bytes(data)
    Path("a").write_bytes(content)
    packed, plain = (json.loads(run("explain", name, "--json", "-m", "toy").out) for name in ("a.lmz", "a"))
    assert packed["file_bytes"] == len(data) and packed["content_bytes"] == plain["content_bytes"] == len(content)
    assert sum(plain["parts"].values()) == plain["cost"] == plain["file_bytes"] * BYTE
    valid(packed, SCHEMA)
    assert run("explain", "a.lmz", "-m", "toy").code == 0
    assert run("explain", "a", "-m", "toy", "-o", "page.html").code == 0
    assert meta_and_columns(Path("page.html").read_text("utf-8"))[0]["size"] == plain["file_bytes"]


def test_the_page_is_a_file_of_the_user(run: Run, tmp_path: Path) -> None:
    Path("a").write_bytes(TEXT[:100])
    Path("page.html").write_bytes(b"mine")
    assert run("explain", "a", "-m", "toy", "-o", "page.html").code == 1 and Path("page.html").read_bytes() == b"mine"
    assert (
        run("explain", "a", "-m", "toy", "-o", "page.html", "-f").code == 0 and Path("page.html").stat().st_size > 1000
    )
    assert run("explain", "a", "-m", "toy", "-o", "a", "-f").code == 1 and Path("a").read_bytes() == TEXT[:100]
    assert json.loads(run("explain", "-", "-m", "toy", "--json", stdin=TEXT[:100]).out)["file"] == "-"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "page.html"}


def test_what_begins_like_an_lmz_file_is_explained_as_it_is(run: Run) -> None:
    for start in (b"\xfcL", b"\xfc\xa5", b"\xfc\x5a", b"\xfcL\xe1"):
        Path("a").write_bytes(start + TEXT[:50])
        found = json.loads(run("explain", "a", "-m", "toy", "--json").out)
        assert found["content_bytes"] == len(start) + 50
        assert sum(found["parts"].values()) == found["file_bytes"] * BYTE


def test_damage_is_told(run: Run) -> None:
    data = bytearray(file_of("cm")[1])
    data[len(data) // 2] ^= 1
    Path("a.lmz").write_bytes(data)
    done = run("explain", "a.lmz", "-m", "toy", "-o", "page.html")
    assert done.code == 1 and done.err.startswith("llmzip: a.lmz: block 1") and not Path("page.html").exists()
    Path("a.lmz").write_bytes(file_of("cm")[1][:-1])
    assert run("explain", "a.lmz", "-m", "toy").code == 1


def test_by_the_transformers_engine(run: Run, tmp_path: Path) -> None:
    folder = tiny_llama_folder(tmp_path.parent / "hf")
    Path("a").write_bytes(TEXT[:120])
    found = json.loads(run("explain", "a", "--json", "--engine", "transformers", "-m", str(folder)).out)
    assert found["parts"]["notes"] > 0 and sum(found["parts"].values()) == found["file_bytes"] * BYTE


def test_explanation_of_a_file_with_the_bundled_model() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_bytes()[:1500]
    data = llmzip.compress(text)
    found: Explanation = explain(data, ModelSource(), content=text)
    assert found.model == "pocket" and sum(found.parts.values()) == len(data) * BYTE
    assert found.parts["model"] > found.parts["contexts"] > 0
    assert replace(found) == found
