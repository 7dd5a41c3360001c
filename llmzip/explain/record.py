"""An explanation as JSON: whole numbers of 2^-24 bit, so that they sum. `schema.json` beside says what is in it."""

import math
from collections.abc import Iterator
from typing import Any

from llmzip.explain.account import PARTS, BlockAccount, Explanation, Parts, Stretch, Surprise
from llmzip.explain.watching import BYTE
from llmzip.predictor.recording import CONTEXTS_SAY, MATCHES_SAY, MODEL_SAYS

VERSION = 1
PARTIES = {"model": MODEL_SAYS, "contexts": CONTEXTS_SAY, "matches": MATCHES_SAY}


def record(name: str, found: Explanation) -> dict[str, Any]:
    return {
        "version": VERSION,
        "file": name,
        "content_bytes": found.n_bytes,
        "file_bytes": found.n_on_disk,
        "bits_per_byte": round(8 * found.n_on_disk / found.n_bytes, 4) if found.n_bytes else None,
        "unit": "2^-24 bit",
        "cost": found.n_on_disk * BYTE,
        "model": found.model or None,
        "parts": _parts(found.parts),
        "blocks": [_block(block) for block in found.blocks],
        "strip": [round(bits, 3) for bits in found.strip.tolist()],
        "is_sample": found.is_sample,
        "detailed_bytes": found.n_detailed,
        "surprises": [_surprise(found, surprise) for surprise in found.surprises],
        "stretches": [_stretch(stretch) for stretch in found.stretches],
    }


def _parts(parts: Parts) -> dict[str, int]:
    return {name: parts[name] for name in PARTS}


def _block(block: BlockAccount) -> dict[str, Any]:
    return {
        "member": block.member,
        "number": block.number,
        "kind": block.kind,
        "transforms": list(block.transforms),
        "lanes": block.lanes,
        "content_start": block.content_start,
        "content_bytes": block.n_bytes,
        "body_bytes": block.n_body,
        "tokens": block.n_tokens,
        "parts": _parts(block.parts),
    }


def text_of(data: bytes) -> dict[str, str]:
    """As text where it is UTF-8, else in hex."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"hex": data.hex()}


def _surprise(found: Explanation, surprise: Surprise) -> dict[str, Any]:
    stretch = found.stretches[surprise.stretch]
    return {
        "block": stretch.block,
        "start": stretch.start + surprise.start,
        **_piece(stretch, surprise.piece, surprise.start),
    }


def _stretch(stretch: Stretch) -> dict[str, Any]:
    return {"block": stretch.block, "start": stretch.start, "pieces": list(_pieces(stretch))}


def _pieces(stretch: Stretch) -> Iterator[dict[str, Any]]:
    start = 0
    for i, length in enumerate(stretch.pieces.lengths.tolist()):
        yield _piece(stretch, i, start)
        start += length


def _piece(stretch: Stretch, i: int, start: int) -> dict[str, Any]:
    pieces = stretch.pieces
    alone, expected = float(pieces.alone[i]), int(pieces.expected[i])
    return {
        **text_of(stretch.data[start : start + int(pieces.lengths[i])]),
        "cost": int(pieces.costs[i]),
        "end_cost": int(pieces.ends[i]),
        "saved_bits": {party: round(float(pieces.saved[i, k]), 3) for party, k in PARTIES.items()},
        "model_probability": None if math.isnan(alone) else _rounded(alone),
        "match_expected": expected if expected >= 0 else None,
        "alternatives": [
            {**_name(stretch, number, is_token=not math.isnan(alone)), "probability": _rounded(chance)}
            for number, chance in zip(pieces.likely[i].tolist(), pieces.chances[i].tolist(), strict=True)
            if number >= 0
        ],
    }


def _name(stretch: Stretch, number: int, *, is_token: bool) -> dict[str, Any]:
    name = stretch.names[number]
    return text_of(name) if is_token else {"bytes": [name[0], name[-1]]}


def _rounded(probability: float) -> float:
    """Four digits."""
    return float(f"{probability:.4g}")
