"""Blocks made by themselves, whatever a writer would choose, and members of them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from llmzip import codec, container, primitives
from llmzip.blocks import Memory
from llmzip.container import Block
from llmzip.errors import LlmzipError
from llmzip.index import create_index
from llmzip.models import Model
from llmzip.teams import Shape

LINE_BITS = 14  # of a memory for small blocks


def model_block(
    model: Model,
    content: bytes,
    memory: Memory | None = None,
    *,
    lanes: int = 1,
    window: int | None = None,
    overlap: int | None = None,
) -> Block:
    """The block of this content by the model. It goes on from the memory, or stands alone with that of its size."""
    memory = memory or Memory(container.line_bits_of(len(content)))
    payload = codec.write_tokens(
        memory.take(len(content)), model, content, Shape(lanes, *codec.coding_of(model, window, overlap, lanes))
    )
    return Block(
        container.MODEL,
        len(content),
        payload,
        primitives.content_check(content),
        lanes=lanes,
        window=window,
        overlap=overlap,
    )


def cm_block(content: bytes, memory: Memory | None = None, *, stride: int = 0) -> Block:
    """As `model_block`, without a model."""
    memory = memory or Memory(container.line_bits_of(len(content)))
    payload = codec.write_bytes(memory.take(len(content)), content, stride)
    return Block(container.CM, len(content), payload, primitives.content_check(content))


Maker = Callable[[bytes, Memory], Block]


def grouped(contents: Sequence[bytes], maker: Maker, begins: Collection[int] = ()) -> list[Block]:
    """Blocks that go on from each other; at those of the numbers in `begins` another group begins."""
    blocks: list[Block] = []
    memory = Memory(container.line_bits_of(len(contents[0])))
    for i, content in enumerate(contents):
        if i in begins:
            memory = Memory(LINE_BITS)
        block = maker(content, memory)
        blocks.append(replace(block, line_bits=LINE_BITS) if i in begins else block)
    return blocks


def member_of(blocks: Sequence[Block], contents: Sequence[bytes], fingerprint: bytes) -> bytes:
    """A long member of these blocks."""
    made = container.create_preamble(fingerprint)
    seen = container.Member(container.parse_preamble(made))
    for i, block in enumerate(blocks):
        last = i == len(blocks) - 1
        data = container.create_block(block, last=last, before=seen.next_before)
        seen.add(block.kind, block.n_bytes, len(data), last, begins_group=block.line_bits is not None)
        made += data
    check = primitives.content_check(b"".join(contents))
    return made + (create_index(seen.index(check)) if seen.has_index else b"")


Past = tuple[Block, Any]  # a block and the model


def remembering(decompress: Callable[..., bytes]) -> Callable[..., bytes]:
    """`blocks.decompress`, but what has been decoded once, after the same blocks of its group, is not decoded again."""
    known: dict[tuple[int, tuple[Past, ...]], bytes | LlmzipError] = {}
    pasts: WeakKeyDictionary[Memory, tuple[Past, ...]] = WeakKeyDictionary()

    def decoded(line_bits: int, past: tuple[Past, ...]) -> bytes | LlmzipError:
        memory = Memory(line_bits)
        for block, model in past[:-1]:
            decompress(block, model, memory)
        try:
            return decompress(*past[-1], memory)
        except LlmzipError as error:
            return error

    def remembered(block: Block, model: Any, memory: Memory, progress: Any = None) -> bytes:
        if block.kind not in (container.MODEL, container.CM) or memory._spoiled:
            return decompress(block, model, memory, progress)
        pasts[memory] = (*pasts.get(memory, ()), (block, model))
        key = memory.line_bits, pasts[memory]
        if key not in known:
            known[key] = decoded(*key)
        found = known[key]
        if isinstance(found, LlmzipError):
            raise found.with_traceback(None)
        return found

    return remembered
