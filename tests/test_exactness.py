"""The product: the same bits for every kernel, instruction set, thread count, batch shape, chunking and padding.

Tiny random models; SmolLM2 once.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import invented_text, tiny_llama_folder
from coding import cm_block, model_block
from exactness_matrix import case, cases, pack
from tiers import mostly_long

from llmzip import blocks, compress, container, decompress, get_info, native
from llmzip.blocks import Memory
from llmzip.models import Model, fused, reference
from llmzip.models.checkpoint import read_checkpoint
from llmzip.models.config import LlamaConfig
from llmzip.models.convert import convert_hf
from llmzip.models.llama import LlamaModel
from llmzip.predictor import Predictor, Spelling

TEXT = invented_text(60) + b" 17 \r\n <|endoftext|> \x04\x00 \xff\xfe\x80" + invented_text(60, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def make(**shape: Any) -> Path:
        root = tmp_path_factory.mktemp("model")
        convert_hf(tiny_llama_folder(root / "hf", **shape), root / "exact", name="tiny", license="none", source="test")
        return root / "exact"

    return make


@pytest.fixture(scope="module")
def tiny(folder: Callable[..., Path]) -> Path:
    return folder()


@pytest.fixture(autouse=True)
def threads_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model has its threads, too."""
    monkeypatch.setattr(fused, "THREAD_SHARE", 1)


def states(path: Path, lanes: int, window: int, **changes: Any) -> Iterator[tuple[str, Any]]:
    """One state per way to compute: torch with either matmul, and every level of the fused kernels."""
    values, tensors = read_checkpoint(path)
    config = LlamaConfig.of({**values, **changes})
    # with escapes, without what spells nothing
    entries = np.random.default_rng(9).permutation(config.n_vocab + 3)[:-40].astype(np.int32)
    torch_model = reference.ReferenceLlama(config, tensors, device="cpu")
    yield "torch", reference.ReferenceState(torch_model, entries, lanes, window)
    from llmzip.models import ops

    slow = reference.ReferenceLlama(config, tensors, device="cpu")
    slow.matmul = ops.float_mm
    yield "torch float32", reference.ReferenceState(slow, entries, lanes, window)
    for level in native.levels:
        for threads in (1, 2):
            model = fused.FusedLlama(config, tensors, entries, level=level, threads=threads)
            yield f"{native.LEVELS[level]} x{threads}", fused.FusedState(model, lanes, window)


SHAPES = [
    {},
    {"architecture": "qwen2"},
    {"architecture": "qwen3", "head_dim": 24},
    {"tied": False, "width": 40, "hidden": 70, "n_heads": 4, "n_kv_heads": 1, "vocab": 701},
    {"width": 32, "hidden": 1100, "n_heads": 2, "n_kv_heads": 2},  # beyond the 1040 inputs of one float32 piece
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.get("architecture", "llama") + str(len(s)))
@pytest.mark.parametrize("changes", [{}, {"digits": 1}, {"sliding_window": 9}], ids=["plain", "one digit", "sliding"])
def test_every_kernel_and_every_chunking_gives_the_same_scores(
    folder: Callable[..., Path], shape: dict[str, Any], changes: dict[str, Any]
) -> None:
    path = folder(**shape)
    ids = np.random.default_rng(0).integers(0, 560, (3, 40)).astype(np.int32)
    ids[1, 5] = 10**6  # an escape symbol
    truth: Any = None
    for name, state in states(path, 3, 48, **changes):
        whole = state.forward(ids).copy()
        truth = whole if truth is None else truth
        assert np.array_equal(whole, truth), name
        state.reset()
        state.prompt(ids[:, :7])
        pieces = [state.forward(ids[:, a:b]).copy() for a, b in ((7, 8), (8, 21), (21, 40))]
        assert np.array_equal(np.concatenate(pieces, axis=1), truth[:, 7:]), name
    assert truth.max() == 0 and len(np.unique(truth)) > 100


def test_a_lane_does_not_depend_on_its_neighbours(tiny: Path) -> None:
    ids = np.random.default_rng(1).integers(0, 560, (17, 30)).astype(np.int32)
    for (name, together), (_, alone) in zip(states(tiny, 17, 32), states(tiny, 1, 32), strict=True):
        scores = together.forward(ids)
        assert np.array_equal(alone.forward(ids[11:12])[0], scores[11]), name


@pytest.mark.parametrize("changes", [{}, {"sliding_window": 9}], ids=["plain", "sliding"])
def test_places_may_be_looked_at_in_any_number_and_again(tiny: Path, changes: dict[str, Any]) -> None:
    ids = np.random.default_rng(2).integers(0, 560, (2, 20)).astype(np.int32)
    wrong = ids + 1
    for name, state in states(tiny, 2, 24, **changes):
        truth = state.forward(ids)
        state.reset()
        state.prompt(ids[:, :3])
        # one lane is guessed right, the other wrong from its fifth place on, and then looked at again
        rows = np.concatenate([ids[0, 3:9], ids[1, 3:5], wrong[1, 5:8]])
        lanes = np.array([0] * 6 + [1] * 5, dtype=np.int32)
        found = state.look(rows, lanes, np.array([*range(3, 9), *range(3, 8)], dtype=np.int32))
        assert np.array_equal(found[:8], np.concatenate([truth[0, 3:9], truth[1, 3:5]])), name
        assert not np.array_equal(found[8:], truth[1, 5:8]), name
        again = state.look(ids[1, 5:20], np.ones(15, dtype=np.int32), np.arange(5, 20, dtype=np.int32))
        assert np.array_equal(again, truth[1, 5:]), name
        with pytest.raises(ValueError, match="positions"):
            state.look(ids[0, :1], np.zeros(1, dtype=np.int32), np.array([24], dtype=np.int32))


def test_the_largest_vocabulary(tiny: Path) -> None:
    values, tensors = read_checkpoint(tiny)
    n = 1 << 20
    tensors = {
        **tensors,
        **{name: np.resize(tensors[name], (n, *tensors[name].shape[1:])) for name in ("embed.weight", "embed.scale")},
    }
    config = LlamaConfig.of({**values, "n_vocab": n})
    assert fused.supports(config) == ""
    entries = np.arange(n, dtype=np.int32)[::-1]
    model = fused.FusedLlama(config, tensors, entries, level=native.levels[-1], threads=2)
    ids = np.array([[5, n - 1, 300_000]], dtype=np.int32)
    slow = reference.ReferenceLlama(config, tensors, device="cpu")
    truth = reference.ReferenceState(slow, entries.copy(), 1, 8).forward(ids)
    assert np.array_equal(fused.FusedState(model, 1, 8).forward(ids), truth)
    spelled = [b""] * n
    found = {7: b"seven", n - 1: b"the last", 700_001: b"700001"}
    for token, word in found.items():
        spelled[token] = word
    spelling, body = Spelling(spelled), b"".join(found.values())
    writer, reader = Predictor(10), Predictor(10)
    writer.write(body, [len(body)], spelling)
    for step, token in enumerate(found):
        writer.code_step(truth[:, step], np.array([token], dtype=np.int32))
    reader.read(writer.payload(), len(body), [len(body)], spelling)
    ids = np.zeros(1, dtype=np.int32)
    for step, token in enumerate(found):
        reader.code_step(truth[:, step], ids)
        assert ids[0] == token
    assert reader.body() == body


def content_of(block: container.Block, model: Model) -> bytes:
    return blocks.decompress(block, model, Memory(container.line_bits_of(block.body_size)))


@pytest.mark.parametrize("lanes", mostly_long([1, 2, 5], [2]))
@pytest.mark.parametrize(("window", "overlap"), [(None, None), (16, 0), (24, 12)])
def test_blocks_round_trip_and_are_the_same_by_torch(
    tiny: Path, lanes: int, window: int | None, overlap: int | None
) -> None:
    model, reference_only = LlamaModel(tiny), LlamaModel(tiny)
    reference_only._fused = None
    block = model_block(model, TEXT, lanes=lanes, window=window, overlap=overlap)
    assert content_of(block, model) == content_of(block, reference_only) == TEXT
    assert model_block(reference_only, TEXT, lanes=lanes, window=window, overlap=overlap) == block


def test_a_group_is_the_same_by_torch(tiny: Path) -> None:
    """Block after block in one memory, with another vocabulary than single bytes, and without a model in between."""
    parts = [TEXT[:400], TEXT[400:900], TEXT[900:]]

    def written(model: Model) -> Any:
        memory = Memory(14)
        return [model_block(model, part, memory) if i != 1 else cm_block(part, memory) for i, part in enumerate(parts)]

    model, reference_only = LlamaModel(tiny), LlamaModel(tiny)
    reference_only._fused = None
    made, memory = written(model), Memory(14)
    assert made == written(reference_only)
    assert [blocks.decompress(block, reference_only, memory) for block in made] == parts


@pytest.fixture(scope="module")
def written(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("written")
    (folder / "text").write_bytes(TEXT)
    packed = pack(TEXT, LlamaModel(tiny), 3)
    assert [block.kind for block in get_info(packed).blocks] == ["model"]
    (folder / "text.lmz").write_bytes(packed)
    return folder


def some_long(threads: int, environment: dict[str, str]) -> Any:
    """Of torch, the least of what there is is tried each time."""
    limits = environment.get("ATEN_CPU_CAPABILITY"), environment.get("ONEDNN_MAX_CPU_ISA"), threads
    is_long = limits[0] is not None and limits != ("default", "SSE41", 1)
    return pytest.param(threads, environment, marks=[pytest.mark.long] if is_long else [])


@pytest.mark.parametrize(
    ("threads", "environment"),
    [some_long(*each) for each in cases()],
    ids=lambda v: v if isinstance(v, int) else " ".join(v.values()),
)
def test_the_matrix(tiny: Path, written: Path, threads: int, environment: dict[str, str]) -> None:
    _, decoded, same_file = case(str(tiny), written / "text", written / "text.lmz", 3, threads, environment)
    assert decoded and same_file


@pytest.mark.long
def test_without_the_library(tiny: Path, tmp_path: Path) -> None:
    """Neither kernels nor predictor of C."""
    (tmp_path / "text").write_bytes(TEXT[:100])
    (tmp_path / "text.lmz").write_bytes(pack(TEXT[:100], LlamaModel(tiny), 2))
    _, decoded, same_file = case(str(tiny), tmp_path / "text", tmp_path / "text.lmz", 2, 1, {"LLMZIP_KERNELS": "none"})
    assert decoded and same_file


def test_on_a_gpu(tiny: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    packed = compress(TEXT, LlamaModel(tiny))
    gpu = LlamaModel(tiny, device="cuda")
    assert decompress(packed, gpu) == TEXT and compress(TEXT, gpu) == packed


@pytest.mark.long
def test_smollm2_round_trip_and_kernels(smollm2: LlamaModel) -> None:
    block = model_block(smollm2, TEXT[:600], lanes=2)
    assert content_of(block, smollm2) == TEXT[:600]
    ids = smollm2.tokenizer.encode(b"It is a truth universally acknowledged, that a single man")[None, :8]
    assert np.array_equal(smollm2.open(1, 16).forward(ids), smollm2.open_reference(1, 16).forward(ids))
