"""Random compositions through the whole of llmzip and back. A campaign: the suite has a small one (test_campaigns.py).

    PYTHONPATH=tests python tests/round_trips.py [--model toy|pocket] [--runs 20000] [--size 3000] [--seed 0]

Every content is compressed, decoded by another object, and compared; none may be larger than promised (24 bytes over
the content, for a block each). Prints the first seed that fails and stops with exit code 1.
"""

import argparse
import collections
import io
import sys
import time

from compositions import compose

import llmzip
from llmzip.errors import LlmzipError
from llmzip.models import Model
from llmzip.models.toy import ToyModel

GROUPS = {"block_size": 200, "group_size": 500}  # of two blocks of text and one of more, or alone


def load(name: str) -> Model:
    if name == "toy":
        return ToyModel()
    from llmzip.models import registry

    return registry.load(name)


def run(seed: int, size: int, model: Model, kinds: "collections.Counter[str]") -> str:
    """What is wrong with the round trip of one composition, or an empty string."""
    data = compose(seed, size)
    if seed % 4 == 0 and isinstance(model, ToyModel):  # it knows nothing but what it says itself
        data = model.speak(len(data), seed) + data[: seed % 3 * 50]
    options = [{}, {}, GROUPS, {"lanes": 2}, GROUPS | {"lanes": 3}, {"window": 16, "overlap": 8}][seed % 6]
    try:
        made = llmzip.compress(data, model, **options)  # type: ignore[arg-type]
        info = llmzip.get_info(made)
        back = llmzip.decompress(made, model)
        with llmzip.LmzFile(io.BytesIO(made), model=model) as file:
            file.seek(len(data) // 2)
            half = file.read()
            file.seek(len(data) // 3)
            third = file.read(100)
    except LlmzipError as error:
        return f"{type(error).__name__}: {error}"
    kinds.update("+".join([block.kind, *block.transforms]) for block in info.blocks)
    at = len(data) // 3
    if back != data or half != data[len(data) // 2 :] or third != data[at : at + 100]:
        return "other bytes"
    if len(made) > len(data) + 24 * max(1, len(info.blocks)) + 30 * (len(info.blocks) > 1):
        return f"{len(made)} bytes of {len(data)}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="toy")
    parser.add_argument("--runs", type=int, default=20000)
    parser.add_argument("--size", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model = load(arguments.model)
    kinds: collections.Counter[str] = collections.Counter()
    start = time.monotonic()
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        if wrong := run(seed, arguments.size, model, kinds):
            print(f"seed {seed}, size {arguments.size}: {wrong}")
            return 1
        if (seed + 1) % 500 == 0:
            print(f"{seed + 1 - arguments.seed} round trips, {time.monotonic() - start:.0f} s", flush=True)
    print(f"{arguments.runs} round trips of {arguments.model} are right; blocks: {dict(kinds.most_common())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
