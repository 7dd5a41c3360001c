"""Write the vectors of model and cm blocks with today's coders. For use until the format is released, and never after.

    PYTHONPATH=. python tests/vectors/make_coded_vectors.py
"""

import json
from pathlib import Path
from typing import Any

from llmzip import cm, codec
from llmzip.container import CM, HAS_LANES, HAS_PARAMETERS, LAST, MODEL, PLAIN, Block, create_varint
from llmzip.models.toy import ToyModel

TEXT = "the station and the nation are singing in the rain, and the cat is eating"
TOY = ToyModel()
RECORDS = "".join(f"{i * i:5d} on  \n" if i % 3 else f"{i * i:5d} off \n" for i in range(40))

VECTORS: list[tuple[str, str, dict[str, Any]]] = [
    ("model", "one model block of one lane", {}),
    ("model-plain", "without the adaptive layer", {"plain": True}),
    ("model-lanes", "three lanes", {"lanes": 3}),
    ("model-parameters", "a window and an overlap of its own", {"window": 16, "overlap": 5}),
    ("model-lanes-parameters", "two lanes with window and overlap of their own", {"lanes": 2, "window": 8, "overlap": 0}),
    ("short-model", "a short member of a model block", {}),
    ("short-model-plain", "a short member of a model block without the adaptive layer", {"plain": True}),
]


def hexadecimal(data: bytes) -> str:
    return "hex " + data.hex(" ").upper()


def long(block: Block) -> list[str]:
    kind = MODEL | LAST | (HAS_LANES if block.lanes > 1 else 0) | (HAS_PARAMETERS if block.window else 0) | (PLAIN if block.plain else 0)
    steps = ["mark start", hexadecimal(b"\xfc\x4c\xe1" + TOY.fingerprint[:4]), hexadecimal(bytes([kind]))]
    fields = [block.n_bytes, len(block.payload)]
    if block.lanes > 1:
        assert block.n_tokens is not None
        fields += [block.lanes, block.n_tokens]
    if block.window is not None and block.overlap is not None:
        fields += [2, block.window, block.overlap]
    steps += [f"varint {field}" for field in fields]
    return [*steps, "crc16 start", "mark payload", hexadecimal(block.payload), "mark end", "crc16 payload end", f"hash64text {TEXT}"]


def short(block: Block) -> list[str]:
    start = bytes([0xFC, 0x2D if block.plain else 0x1E]) + TOY.fingerprint[:4]
    fields = [f"varint {field}" for field in (block.n_bytes, len(block.payload))]
    return ["mark start", hexadecimal(start), *fields, hexadecimal(block.payload), f"hash32 start {TEXT}"]


def without_model(kind: str, content: str, stride: int) -> list[str]:
    payload = create_varint(stride) + cm._encode(content.encode(), stride)
    sizes = [f"varint {len(content)}", f"varint {len(payload)}"]
    if kind == "short":
        return ["mark start", "hex FC 5A", *sizes, hexadecimal(payload), f"hash32 start {content}"]
    start = ["mark start", hexadecimal(b"\xfc\x4c\xe1" + bytes(4) + bytes([CM | LAST])), *sizes]
    return [*start, "crc16 start", "mark payload", hexadecimal(payload), "mark end", "crc16 payload end", f"hash64text {content}"]


def write(name: str, about: str, content: str, build: list[str]) -> None:
    path = Path(__file__).with_name(f"good-{name}.json")
    path.write_text(json.dumps({"about": about, "content": content, "build": build}, indent=1) + "\n")


def main() -> None:
    for name, about, coding in VECTORS:
        block = codec.compress_block(TOY, TEXT.encode(), **coding)
        assert block.kind == MODEL
        write(name, about, TEXT, short(block) if name.startswith("short") else long(block))
    write("cm", "one cm block of text", TEXT, without_model("long", TEXT, 0))
    write("cm-stride", "one cm block of records of 11 bytes", RECORDS, without_model("long", RECORDS, 11))
    write("short-cm", "a short member of a cm block", TEXT, without_model("short", TEXT, 0))


if __name__ == "__main__":
    main()
