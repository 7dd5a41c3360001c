"""Write the vectors of model and cm blocks with today's coders. For use until the format is released, and never after.

To run, from the root of the tree: `PYTHONPATH=. python tests/vectors/make_coded_vectors.py`.
"""

import base64
import gzip
import io
import json
from dataclasses import dataclass
from pathlib import Path

import llmzip
from llmzip import codec, filemap
from llmzip.container import (
    BEGINS_GROUP,
    CM,
    HAS_LANES,
    HAS_PARAMETERS,
    HAS_TRANSFORMS,
    LAST,
    MODEL,
    NO_MODEL,
    OPEN,
    STORED,
    line_bits_of,
)
from llmzip.models.toy import ToyModel
from llmzip.predictor import Predictor
from llmzip.primitives import create_varint
from llmzip.teams import Shape

TEXT = "the station and the nation are singing in the rain, and the cat is eating"
TOY = ToyModel()
RECORDS = "".join(f"{i * i:5d} on  \n" if i % 3 else f"{i * i:5d} off \n" for i in range(20))
NAMED = TOY.fingerprint[:4]
SQUARES = "".join(f"{i} * {i} is {i * i}, {i**3} and {i**4}\n" for i in range(28))
ATTACHMENT = base64.encodebytes(gzip.compress(SQUARES.encode(), mtime=0)).decode()


@dataclass(frozen=True)
class Block:
    """What a block is to say. `begins`: the line bits that its header gives."""

    kind: int
    content: str
    stride: int = 0
    lanes: int = 1
    window: int | None = None
    overlap: int = 0
    begins: int | None = None
    flagged: bool = True  # False: the flag that a group begins is left out, though one does

    def coded(self, memory: Predictor) -> bytes:
        body = self.content.encode()
        if self.kind == CM:
            return codec.write_bytes(memory, body, self.stride)
        if self.kind == MODEL:
            window, overlap = (TOY.window, TOY.overlap) if self.window is None else (self.window, self.overlap)
            return codec.write_tokens(memory, TOY, body, Shape(self.lanes, window, overlap))
        return body

    def header(self, payload: bytes, *, last: bool) -> tuple[int, list[int]]:
        """The kind byte and the fields."""
        kind, fields = self.kind | (LAST if last else 0), [len(self.content.encode())]
        if self.kind != STORED:
            fields.append(len(payload))
        if self.lanes > 1:
            kind, fields = kind | HAS_LANES, [*fields, self.lanes]
        if self.window is not None:
            kind, fields = kind | HAS_PARAMETERS, [*fields, 2, self.window, self.overlap]
        if self.begins is not None and self.flagged:
            kind, fields = kind | BEGINS_GROUP, [*fields, self.begins]
        return kind, fields


def hexadecimal(data: bytes) -> str:
    return "hex " + data.hex(" ").upper()


def long(named: bytes, *blocks: Block) -> list[str]:
    """The steps of a member of these blocks, each of which goes on from those before unless it begins a group."""
    steps = ["mark start", hexadecimal(b"\xfc\x4c\xe1" + named)]
    entries = []
    memory = Predictor(line_bits_of(len(blocks[0].content)))
    for i, block in enumerate(blocks):
        if block.begins is not None:
            memory = Predictor(block.begins)
        payload = block.coded(memory)
        kind, fields = block.header(payload, last=i == len(blocks) - 1)
        start = "header" if i else "start"
        steps += [f"mark {start}"] * (i > 0) + [hexadecimal(bytes([kind])), *(f"varint {field}" for field in fields)]
        steps += [f"crc16 {start}", "mark payload", hexadecimal(payload), "mark end", "crc16 payload end"]
        steps.append(f"hash64text {block.content}")
        size = 1 + sum(len(create_varint(field)) for field in fields) + 2 + len(payload) + 10
        entries += [len(block.content.encode()), size << 1 | (not i or bool(kind & BEGINS_GROUP))]
    return steps + index("".join(block.content for block in blocks), entries) if len(blocks) > 1 else steps


def index(content: str, entries: list[int]) -> list[str]:
    numbers = [len(entries) // 2, *entries, len(content.encode())]
    steps = ["mark index", "hex 00", *(f"varint {number}" for number in numbers)]
    return [*steps, f"hash64text {content}", "crc32 index", "size index", "hex 4C FC"]


def short(start: bytes, block: Block) -> list[str]:
    payload = block.coded(Predictor(line_bits_of(len(block.content))))
    sizes = [f"varint {n}" for n in (len(block.content.encode()), len(payload))]
    return ["mark start", hexadecimal(b"\xfc" + start), *sizes, hexadecimal(payload), f"hash32 start {block.content}"]


def write(name: str, about: str, outcome: dict[str, str], build: list[str]) -> None:
    path = Path(__file__).with_name(f"{name}.json")
    path.write_text(json.dumps({"about": about, **outcome, "build": build}, indent=1) + "\n")


def good(name: str, about: str, named: bytes, *blocks: Block) -> None:
    write(f"good-{name}", about, {"content": "".join(block.content for block in blocks)}, long(named, *blocks))


def bad(name: str, about: str, message: str, build: list[str]) -> None:
    write(f"bad-{name}", about, {"error": "LlmzipError", "message": message}, build)


def main() -> None:
    text, model = Block(CM, TEXT), Block(MODEL, TEXT)
    good("cm", "one cm block of text", NO_MODEL, text)
    good("cm-stride", "one cm block of records of 11 bytes", NO_MODEL, Block(CM, RECORDS, stride=11))
    good("cm-line-bits", "one cm block that says how great its memory is", NO_MODEL, Block(CM, RECORDS, begins=10))
    write("good-short-cm", "a short member of a cm block", {"content": TEXT}, short(b"\x5a", text))
    good("model", "one model block of one lane", NAMED, model)
    good("model-lanes", "three lanes, the first of a byte more", NAMED, Block(MODEL, TEXT, lanes=3))
    good("model-lanes-bytes", "as many lanes as bytes", NAMED, Block(MODEL, "rain", lanes=4))
    good("model-parameters", "a window and an overlap of its own", NAMED, Block(MODEL, TEXT, window=16, overlap=5))
    parameters = Block(MODEL, TEXT, lanes=2, window=8, overlap=0)
    good("model-lanes-parameters", "two lanes with window and overlap of their own", NAMED, parameters)
    write("good-short-model", "a short member of a model block", {"content": TEXT}, short(b"\x1e" + NAMED, model))
    write("good-open", "a gzip member in lines of base64, opened", {"content": ATTACHMENT}, opened(ATTACHMENT))
    groups(text, model)


def opened(content: str) -> list[str]:
    """The steps of a member of one block, as the writer cuts and opens it."""
    made = llmzip.compress(content.encode(), TOY)
    [member] = filemap.walk_file(io.BytesIO(made))
    [entry] = member.blocks
    header = entry.header
    assert header is not None and header.mask == OPEN and header.kind == MODEL and header.n_opened is not None
    sizes = header.n_bytes, header.n_payload, header.mask, header.body_size, header.n_side, header.n_opened
    start = entry.offset + header.size
    return [
        "mark start", hexadecimal(made[: entry.offset]), hexadecimal(bytes([MODEL | LAST | HAS_TRANSFORMS])),
        *(f"varint {size}" for size in sizes), "crc16 start", "mark payload",
        hexadecimal(made[start : start + header.n_payload]), "mark end", "crc16 payload end", f"hash64text {content}",
    ]  # fmt: skip


def groups(text: Block, model: Block) -> None:
    good("group", "a block that goes on from the one before, which has the same content", NO_MODEL, text, text)
    mixed = (model, Block(STORED, "hello"), Block(CM, RECORDS, stride=11), Block(MODEL, TEXT, lanes=2))
    good("group-of-all-kinds", "one memory for blocks of all kinds; stored ones leave no trace in it", NAMED, *mixed)
    good("group-of-stored", "a stored block begins the group", NO_MODEL, Block(STORED, "hello", begins=12), text, text)
    again = Block(CM, TEXT, begins=10)
    good("second-group", "a second group, which knows nothing of the first", NO_MODEL, text, text, again, text)
    good(
        "one-group-each",
        "each block begins a group",
        NAMED,
        Block(MODEL, TEXT, begins=12),
        again,
        Block(MODEL, TEXT, begins=11),
    )

    damaged = long(NO_MODEL, text, text)
    payload = next(i for i, step in enumerate(damaged) if step == "mark payload") + 1
    first = damaged[payload].split()
    first[5] = f"{int(first[5], 16) ^ 0x40:02X}"
    damaged[payload] = " ".join(first)
    bad(
        "group-damaged", "the first block of a group codes other bytes, under a right payload check", "block 1", damaged
    )
    unsaid = long(NO_MODEL, text, Block(CM, TEXT, begins=14, flagged=False))
    bad("group-goes-on", "a block that says that it goes on, and does not", "block 2", unsaid)
    good_steps = long(NO_MODEL, text, text)
    bad("group-does-not-go-on", "a block that says that it begins a group, and goes on", "block 2", flagged(good_steps))


def flagged(steps: list[str]) -> list[str]:
    """The second of two blocks with the flag that it begins a group."""
    kind = steps.index("mark header") + 1
    entry = steps.index("mark index") + 6
    size = int(steps[entry].split()[1]) + 2 | 1  # a byte more, and the flag
    header = [f"hex {CM | LAST | BEGINS_GROUP:02X}", *steps[kind + 1 : kind + 3], "varint 14"]
    return [*steps[:kind], *header, *steps[kind + 3 : entry], f"varint {size}", *steps[entry + 1 :]]


if __name__ == "__main__":
    main()
