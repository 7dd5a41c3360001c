"""Blocks of any kind: how content is coded smallest, and the content of a block.

Puts together what looks at content (`segments`), what changes it (`transforms`) and what codes it (`codec`, `cm`, `lz`). Imports
them where a block needs them, so that what is stored is read without numpy.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from llmzip import container, lz
from llmzip.container import BOM, CM, CRLF, LZMA, MODEL, PACK, REPEATS, STORED, X86, Block, content_check, stored_block
from llmzip.errors import ChecksumError, FormatError

if TYPE_CHECKING:
    from llmzip.models import Model

INDEX_ENTRY_SIZE = 6  # bytes that a further block costs in the index, about

Progress = Callable[[int], object]  # bytes of content done


@dataclass(frozen=True)
class Choice:
    """The block that was chosen, and in words why."""

    block: Block
    why: str


def compress(
    model: "Model", data: bytes, runs: list[tuple[int, bool]], *, progress: Progress | None = None, **coding: Any
) -> list[Choice]:
    """A block for each of the runs (size, whether it is text) that make up `data`, or one for all if that is smaller.

    `coding`: of `codec.compress_block`.
    """
    choices = []
    at = 0
    for n_bytes, is_text in runs:
        done = None if progress is None else partial(_ahead, progress, at)
        choices.append(_choose(model, data[at : at + n_bytes], is_text, done, coding))
        at += n_bytes
    if len(choices) > 1:
        whole = _choose(model, data, False, None, coding)
        if _size(whole.block) < sum(_size(choice.block) + INDEX_ENTRY_SIZE for choice in choices):
            return [replace(whole, why=f"smaller than {len(choices)} blocks; {whole.why}")]
    return choices


def _ahead(progress: Progress, before: int, done: int) -> object:
    return progress(before + done)


def _choose(model: "Model", data: bytes, is_text: bool, progress: Progress | None, coding: dict[str, Any]) -> Choice:
    """The smallest block for these bytes.

    The model is tried on text only, and not where it has nothing to find: it takes some ten times as long as cm. Where it is tried,
    it nearly always wins, and the others get one try.
    """
    from llmzip import cm, segments, transforms

    random = segments.is_random(data)
    found = [stored_block(data), *_packed(data)] if random else [stored_block(data)]
    wanted = segments.utf16(data) | BOM | CRLF if is_text else 0
    mask, body, side = transforms.apply(data, wanted)
    if mask == BOM:  # alone it costs what it saves
        mask, body, side = 0, data, b""
    found.append(_around(_lzma_block(body, thorough=not is_text), data, mask, side))
    hopeless = random and min(found, key=_size).kind == STORED
    mask, body, side = transforms.apply(data, mask | REPEATS)  # lzma finds repeats itself
    if data and not (hopeless and cm.is_hopeless(body)):
        found.append(_cm_block(data, mask, body, side, is_text, progress))
    if is_text and not hopeless:
        found.append(_around(_model_block(model, body, _scaled(progress, len(body), len(data)), coding), data, mask, side))
    if mask:  # what is left without its repeats may be such that no coder makes it smaller
        found.append(_around(stored_block(body), data, mask, side))
    found.sort(key=_size)
    looks = "random" if hopeless else "text" if is_text else "binary"
    sizes = ", ".join(f"{describe(block)} {len(block.side) + len(block.payload)}" for block in found)
    return Choice(found[0], f"looks {looks}; coded {sizes}")


def _size(block: Block) -> int:
    """In the file. What a reader would refuse comes last: a coder can make a body longer than the format allows."""
    size = container.size_of(block)
    return 4 * container.MAX_BLOCK_SIZE if size is None else size


def describe(block: Block) -> str:
    """Its kind and transforms: "model+crlf"."""
    return "+".join([container.KIND_NAMES[block.kind], *container.transform_names(block.mask)])


def _lzma_block(body: bytes, *, thorough: bool = True) -> Block:
    return Block(LZMA, len(body), lz.create_payload(body, thorough=thorough), b"")


def _cm_block(data: bytes, mask: int, body: bytes, side: bytes, is_text: bool, progress: Progress | None) -> Block:
    """By context mixing: of what is not text with the calls of machine code made absolute, if that helps."""
    from llmzip import cm, transforms

    if not is_text and cm.is_better(code := transforms.apply(body, X86)[1], body):
        mask, body = mask | X86, code
    done = None if is_text else _scaled(progress, len(body), len(data))  # of text, the model's progress is shown
    payload = cm.create_payload(body, thorough=not is_text, progress=done)
    return _around(Block(CM, len(body), payload, b""), data, mask, side)


def _packed(data: bytes) -> list[Block]:
    """What has few different bytes, equally often: their numbers, and those through lzma, should they hide something."""
    from llmzip import transforms

    mask, body, side = transforms.apply(data, PACK)
    return [_around(block, data, mask, side) for block in (stored_block(body), _lzma_block(body))] if mask else []


def _model_block(model: "Model", body: bytes, progress: Progress | None, coding: dict[str, Any]) -> Block:
    """By the model; stored if that is smaller."""
    from llmzip import codec

    return codec.compress_block(model, body, progress=progress, **coding)


def _around(block: Block, data: bytes, mask: int, side: bytes) -> Block:
    """The block of the content `data` from that of its body."""
    n_body = block.n_bytes if mask else None
    return replace(block, n_bytes=len(data), content_check=content_check(data), mask=mask, n_body=n_body, side=side)


def _scaled(progress: Progress | None, n_body: int, n_bytes: int) -> Progress | None:
    """Told of bytes of the body, tells of bytes of content."""
    return progress and (lambda done: progress(done * n_bytes // n_body))


def decompress(block: Block, model: "Model | None", progress: Progress | None = None) -> bytes:
    """The content of a block, compared with its content check. `model` is for model blocks alone.

    Raises ChecksumError or FormatError when the bytes are not those that were compressed, and gives none of them out.
    """
    data = _body(block, model, _scaled(progress, block.body_size, block.n_bytes))
    if block.mask:
        from llmzip import transforms

        data = transforms.undo(block.mask, data, block.side, block.n_bytes)
    if not block.is_content(data):
        raise ChecksumError("the decoded bytes are not the ones that were compressed")
    return data


def memory_needed(header: container.Header, model: "Model | None") -> int:
    """Bytes that decoding this block takes at most beside the weights of the model, within a factor of some two.

    `model` None: it is not loaded yet, and what it takes for its positions is left out.
    """
    held = (1 << 23) + 3 * header.n_payload + 2 * header.body_size  # as read, as cut; the body, and in one piece
    if header.mask:
        from llmzip import transforms

        held += 3 * transforms.most_on_the_way(header.mask, header.n_bytes)  # what one reads and makes, and its pieces
    if header.kind == LZMA:
        return held + max(lz.MIN_DICTIONARY, header.body_size)
    if header.kind == CM:
        from llmzip import cm

        return held + cm.memory_needed(header.body_size)
    if header.kind == MODEL:
        from llmzip import codec

        return held + codec.memory_needed(header, model)
    return held


def _body(block: Block, model: "Model | None", progress: Progress | None) -> bytes:
    if block.kind == STORED:
        return block.payload
    if block.kind == LZMA:
        return lz.parse_payload(block.payload, block.body_size)
    if block.kind == CM:
        from llmzip import cm

        return cm.parse_payload(block.payload, block.body_size, progress)
    if block.kind != MODEL or model is None:
        raise FormatError("a block of this type has no content")
    from llmzip import codec

    return codec.decode_block(model, replace(block, n_bytes=block.body_size), progress)
