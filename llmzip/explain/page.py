"""An explanation as a page: one file that needs no network. What was found is in it as columns of numbers, packed."""

import base64
import json
import zlib
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.explain.account import PARTS, Explanation, Pieces, Stretch
from llmzip.explain.watching import BYTE, UNIT_BITS
from llmzip.predictor.recording import CONTEXTS_SAY, MATCHES_SAY, MODEL_SAYS

_NONE = 65535  # of a column of 16 bits
_SAVED_UNIT = 64  # of a bit


def page(name: str, found: Explanation) -> str:
    numbers: dict[bytes, int] = {}
    columns = [_columns(stretch, numbers) for stretch in found.stretches]
    packed = (
        [np.concatenate([each[i] for each in columns]).tobytes() for i in range(len(columns[0]))] if columns else []
    )
    blob = zlib.compress(b"".join(packed) + b"".join(stretch.data for stretch in found.stretches), 9)
    meta = json.dumps(_meta(name, found, [_name(each) for each in numbers]), separators=(",", ":")).replace(
        "<", "\\u003c"
    )
    template = (files("llmzip.explain") / "page.html").read_text("utf-8")
    before, between = template.split("META", 1)
    between, after = between.split("BLOB", 1)
    return before + meta + between + base64.b64encode(blob).decode() + after


def _meta(name: str, found: Explanation, names: list[str]) -> dict[str, Any]:
    firsts = np.cumsum([0, *(len(stretch.pieces.lengths) for stretch in found.stretches)]).tolist()
    return {
        "file": name,
        "content": found.n_bytes,
        "size": found.n_on_disk,
        "body": found.n_body,
        "model": found.model,
        "sample": found.is_sample,
        "detailed": found.n_detailed,
        "pieces": firsts[-1],
        "names": names,
        "parts": [
            [part, what, round(found.parts[part] / BYTE, 4)] for part, what in PARTS.items() if found.parts[part]
        ],
        "strip": [round(bits, 3) for bits in found.strip.tolist()],
        "blocks": [
            {
                "member": block.member,
                "number": block.number,
                "kind": block.kind,
                "content": block.n_bytes,
                "tokens": block.n_tokens,
                "size": sum(block.parts.values()) // BYTE,
                "lanes": block.lanes,
                "transforms": block.transforms,
            }
            for block in found.blocks
        ],
        "stretches": [
            {
                "block": stretch.block,
                "body": found.blocks[stretch.block].body_start + stretch.start,
                "bytes": len(stretch.data),
                "pieces": len(stretch.pieces.lengths),
            }
            for stretch in found.stretches
        ],
        "surprises": [firsts[surprise.stretch] + surprise.piece for surprise in found.surprises],
    }


def _columns(stretch: Stretch, numbers: dict[bytes, int]) -> list[NDArray[Any]]:
    """16 bits each, in the order in which the page reads them. `numbers`: of the names so far."""
    pieces: Pieces = stretch.pieces
    saved = np.clip(
        np.rint(pieces.saved[:, [MODEL_SAYS, CONTEXTS_SAY, MATCHES_SAY]] * _SAVED_UNIT), -32768, 32767
    ).astype("<i2")
    return [
        _code(pieces.costs / (1 << UNIT_BITS)),
        _code(pieces.ends / (1 << UNIT_BITS)),
        pieces.lengths.astype("<u2"),
        saved.ravel(),
        _code_chances(pieces.alone),
        _numbered(stretch, numbers).ravel(),
        _code_chances(pieces.chances).ravel(),
        pieces.expected.astype("<i2"),
    ]


def _code(bits: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
    """Bits in 1/256."""
    code: NDArray[np.uint16] = np.minimum(np.rint(bits * 256), _NONE - 1).astype("<u2")
    return code


def _code_chances(chances: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Probabilities as bits; none where there is none."""
    code = _code(-np.log2(np.maximum(np.nan_to_num(chances), 2.0**-60)))
    code[np.isnan(chances)] = _NONE
    return code


def _numbered(stretch: Stretch, numbers: dict[bytes, int]) -> NDArray[np.uint16]:
    """The names of this stretch as numbers of those of the page."""
    used = np.unique(stretch.pieces.likely)
    known = np.full(int(used.max(initial=0)) + 2, _NONE, dtype="<u2")  # the last is for -1
    for each in used[used >= 0].tolist():
        number = numbers.setdefault(_key(stretch, each), len(numbers))
        known[each] = min(number, _NONE)
    return known[stretch.pieces.likely]


def _key(stretch: Stretch, number: int) -> bytes:
    """Ranges of bytes are told from tokens by what no token begins with here."""
    is_token = stretch.pieces.alone.size and not np.isnan(stretch.pieces.alone[0])
    return (b"t" if is_token else b"r") + stretch.names[number]


def _name(key: bytes) -> str:
    name = key[1:]
    if key[:1] == b"r":
        return "\N{EN DASH}".join(
            chr(byte) if 32 <= byte < 127 else f"{byte:02x}" for byte in dict.fromkeys((name[0], name[-1]))
        )
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.hex(" ")
