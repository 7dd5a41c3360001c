"""What the predictor makes of files, read back and compared: bytes, and microseconds a byte in both directions. Not collected by pytest.

    python tests/measure_predictor.py [--model pocket] [--ways none,one,lanes] [--limit N] FILE...
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmzip import codec
from llmzip.models import Model, registry
from llmzip.predictor import Predictor, Spelling

COLUMNS = ("none", "one", "lanes")


def spelling_of(model: Model) -> Spelling:
    tokenizer = model.tokenizer
    symbols = np.arange(len(tokenizer.line_ends), dtype=np.int32)
    spelled = []
    for symbol in symbols:
        try:
            spelled.append(tokenizer.decode(symbol[None]))
        except Exception:  # a special token
            spelled.append(b"")
    return Spelling(spelled)


def line_bits(n_bytes: int) -> int:
    return min(22, max(14, n_bytes.bit_length() + 5))


def transcode(model: Model, predictor: Predictor, ids: NDArray[np.int32], *, known: bool) -> float:
    """Code all tokens of the lanes `ids` (L, T); seconds that the predictor took."""
    window, overlap = model.window, model.overlap
    state = model.open(len(ids), window)
    chunk = max(1, codec.CHUNK_ROWS // len(ids)) if known else 1
    step, seconds = 0, 0.0
    while predictor.alive.any():
        last = codec._open_window(model, state, ids, step, overlap)
        end = min(ids.shape[1], step + window - (overlap if step else 0))
        while step < end and predictor.alive.any():
            ahead = min(chunk, end - step)
            scores = state.forward(np.concatenate([last, ids[:, step : step + ahead - 1]], axis=1))
            start = time.process_time()
            for i in range(ahead):
                now = ids[:, step].copy()
                predictor.code_step(scores[:, i], now)
                ids[:, step] = now
                step += 1
            seconds += time.process_time() - start
            last = ids[:, step - 1 : step]
    return seconds


def with_model(model: Model, spelling: Spelling, data: bytes, n_lanes: int) -> tuple[int, float, float]:
    tokens = spelling.canonical(model.tokenizer.encode(data))
    parts = np.array_split(tokens, n_lanes)
    ids = np.full((n_lanes, max(map(len, parts))), model.start_id, dtype=np.int32)
    for i, part in enumerate(parts):
        ids[i, : len(part)] = part
    sizes = [model.tokenizer.size(part) for part in parts]
    writer = Predictor(len(data), line_bits(len(data)), spelling)
    writer.write(data, sizes)
    there = transcode(model, writer, ids, known=True)
    payload = writer.payload()
    reader = Predictor(len(data), line_bits(len(data)), spelling)
    reader.read(payload, len(data), sizes)
    found = np.full((n_lanes, len(data)), model.start_id, dtype=np.int32)
    back = transcode(model, reader, found, known=False)
    assert reader.body() == data
    return len(payload), there, back


def without_model(data: bytes, stride: int = 0) -> tuple[int, float, float]:
    start = time.process_time()
    writer = Predictor(len(data), line_bits(len(data)))
    writer.write(data, stride=stride)
    writer.code_bytes(len(data))
    payload, middle = writer.payload(), time.process_time()
    reader = Predictor(len(data), line_bits(len(data)))
    reader.read(payload, len(data), stride=stride)
    reader.code_bytes(len(data))
    assert reader.body() == data
    return len(payload), middle - start, time.process_time() - middle


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--ways", default="none,one,lanes")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--stride", type=int, default=0)
    options = parser.parse_args()
    model = registry.load(options.model)
    spelling = spelling_of(model)
    for path in options.files:
        data = path.read_bytes()[: options.limit]
        lanes = codec.choose_lanes(len(data), model.window)
        ways: dict[str, Callable[[], tuple[int, float, float]]] = {
            "none": lambda: without_model(data, options.stride),  # noqa: B023
            "one": lambda: with_model(model, spelling, data, 1),  # noqa: B023
            "lanes": lambda: with_model(model, spelling, data, lanes),  # noqa: B023
        }
        line = f"{path.name:22} {len(data):8}"
        for name in options.ways.split(","):
            size, there, back = ways[name]()
            line += f" | {name} {size:7} {there * 1e6 / len(data):5.1f} {back * 1e6 / len(data):5.1f} us/B"
        print(line, flush=True)


if __name__ == "__main__":
    main()
