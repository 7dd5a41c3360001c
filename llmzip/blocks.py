"""Blocks of any kind: how content is coded, and the content of a block. And what the blocks of a group share.

Puts together what looks at content (`segments`, `trials`), what changes it (`transforms`) and what codes it (`codec`).
Imports them where a block needs them, so that what is stored is read without numpy.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmzip import container
from llmzip.coding import Coding, CodingError
from llmzip.container import BOM, CM, CRLF, MODEL, OPEN, PACK, REPEATS, STORED, X86, Block
from llmzip.errors import ChecksumError, FormatError
from llmzip.primitives import content_check

if TYPE_CHECKING:
    from llmzip.models import Model
    from llmzip.openings import Opening
    from llmzip.predictor import Predictor
    from llmzip.repeats import Past

Progress = Callable[[int], object]  # bytes of content done


class Memory:
    """What the blocks of a group share, in either direction: made when the first of them needs it.

    `threads`: that its blocks are coded with, None: as many as the model uses.
    """

    def __init__(self, line_bits: int, threads: int | None = None) -> None:
        self.line_bits, self.threads = line_bits, threads
        self.n_bytes = 0  # of the bodies so far, which it holds
        self.window = b""  # of a stream that goes on beyond the last block that was coded: where the next is begun
        self._predictor: Predictor | None = None
        self._past: Past | None = None
        self._spoiled = False

    @property
    def n_written(self) -> int:
        """Bytes of the payload that is being written, so far."""
        return 0 if self._predictor is None else self._predictor.n_written

    def spoil(self) -> None:
        """A block has been lost: what goes on from it cannot be read."""
        self._spoiled, self._predictor, self._past, self.window = True, None, None, b""

    @contextmanager
    def at_stake(self, block: Block) -> Iterator[None]:
        """While the block is decoded: if that fails, what goes on from it is lost, too.

        What is stored teaches nothing.
        """
        try:
            yield
        except BaseException:
            if block.kind != STORED:
                self.spoil()
            raise

    def take(self, n_bytes: int) -> "Predictor":
        """The predictor, for a body of this size. FormatError if that is too much, or an earlier one has been lost."""
        if self._spoiled:
            raise FormatError("it goes on from a block that is damaged")
        self.n_bytes += n_bytes
        if self.n_bytes > container.MAX_GROUP_SIZE:
            raise FormatError(f"the bodies of a group have more than {container.MAX_GROUP_SIZE} bytes together")
        if self._predictor is None:
            self._predictor = self._made()
        return self._predictor

    @property
    def n_made(self) -> int:
        """Bytes that repeats may be of."""
        return 0 if self._past is None else len(self._past)

    @property
    def past(self) -> "Past":
        """What repeats in the next block may be of."""
        if self._past is None:
            from llmzip.repeats import Past

            self._past = Past(container.REACH)
        return self._past

    def learn(self, made: bytes, window: bytes) -> None:
        """What a coded block leaves to the next: what repeats may be of, and the window of a stream."""
        self.past.add(made)
        self.window = window

    def _made(self) -> "Predictor":
        from llmzip.predictor import Predictor

        return Predictor(self.line_bits)


@dataclass(frozen=True)
class Body:
    """What is coded for a content: what the transforms of `mask` have made of it, with `side` to undo them."""

    mask: int
    data: bytes
    side: bytes
    n_opened: int | None = None  # bytes of the content after OPEN, if that is one of them
    made: bytes = b""  # what there was before repeats were left out
    row: int = 0  # bytes of a row, where that is known


@dataclass(frozen=True)
class Coded:
    """A body, and what a coder has made of it."""

    kind: int
    body: Body
    payload: bytes
    lanes: int = 1
    window: int | None = None  # both or neither: not those of the model
    overlap: int | None = None

    def block(self, n_bytes: int, check: bytes) -> Block:
        """The block of the content of this size and content check."""
        return Block(
            kind=self.kind,
            n_bytes=n_bytes,
            payload=self.payload,
            content_check=check,
            lanes=self.lanes,
            window=self.window,
            overlap=self.overlap,
            mask=self.body.mask,
            n_body=len(self.body.data) if self.body.mask else None,
            n_opened=self.body.n_opened,
            side=self.body.side,
        )


@dataclass(frozen=True)
class Choice:
    """The block that was chosen, and in words why.

    `spoils`: the memory has learnt what no reader will: nothing can go on from it.
    """

    block: Block
    why: str
    spoils: bool = False


def compress(
    model: "Model",
    content: bytes,
    is_text: bool,
    memory: Memory,
    coding: Coding,
    *,
    opening: "Opening | None" = None,
    progress: Progress | None = None,
) -> Choice:
    """The block for these bytes, which goes on from what the memory has learnt.

    With an `opening` of them, that is coded; `is_text` is said of its body.
    Raises CodingError for a coding that does not fit the model.
    """
    from llmzip import segments, transforms

    data = content if opening is None else opening.body
    found = [_stored(Body(0, content, b""))]
    random = segments.is_random(data)
    body, own = _transformed(data, is_text, memory)
    hopeless = random and _is_hopeless(body, own)
    why = "looks " + ("random" if hopeless else "text" if is_text else "binary")
    if opening is None:
        if random:
            found.append(_stored(Body(*transforms.apply(data, PACK))))
        found.append(_stored(own))  # without its repeats it may be such that no coder makes it smaller
    else:
        why += f"; opened {opening.summary()}"
    coded = None
    if data and not hopeless:
        if not is_text:
            body = _filtered(body)
        if opening is not None:
            side = transforms.join_sides(opening.side, body.side)
            body = replace(body, mask=body.mask | OPEN, side=side, n_opened=len(data), row=opening.row)
        tell = progress and (lambda done: progress(done * len(content) // len(body.data)))
        coded, share = _coded(model, body, is_text, memory, coding, tell)
        memory.learn(body.made, b"" if opening is None else opening.window)
        found.insert(0, coded)
        why += share
    check = content_check(content)
    block, least = min(((each.block(len(content), check), each) for each in found), key=lambda pair: _size(pair[0]))
    return Choice(block, why, spoils=coded is not None and least is not coded)


def _transformed(data: bytes, is_text: bool, memory: Memory) -> tuple[Body, Body]:
    """What is left of these bytes without repeats, of all that the group knows and of these bytes alone."""
    from llmzip import segments, transforms

    mask, made, _ = transforms.apply(data, segments.utf16(data) | BOM | CRLF if is_text else 0)
    if mask == BOM:  # alone it costs what it saves
        mask, made = 0, data
    own = body = Body(*transforms.apply(data, mask | REPEATS, memory.past), made=made)
    if memory.n_made and body.mask & REPEATS:
        own = Body(*transforms.apply(data, mask | REPEATS), made=made)
    return body, own


def _is_hopeless(body: Body, own: Body) -> bool:
    """Whether nothing is to be gained by coding these random bytes. Stored, they have repeats of their own alone."""
    from llmzip import trials

    return trials.is_hopeless(body.made) and len(body.data) > trials.HOPELESS_SHARE * len(own.data)


def _filtered(body: Body) -> Body:
    """With the filter of machine code, where that helps."""
    from llmzip import transforms, trials

    code = transforms.apply(body.data, X86)[1]
    return replace(body, mask=body.mask | X86, data=code) if trials.is_better(code, body.data) else body


def _size(block: Block) -> int:
    """In the file. What a reader would refuse comes last: a coder can make a body longer than the format allows."""
    size = container.size_of(block)
    return 4 * container.MAX_BLOCK_SIZE if size is None else size


def _stored(body: Body) -> Coded:
    return Coded(STORED, body, body.data)


def _coded(
    model: "Model", body: Body, is_text: bool, memory: Memory, coding: Coding, progress: Progress | None
) -> tuple[Coded, str]:
    """The body coded with the model or without, and why."""
    from llmzip import codec, native, trials
    from llmzip.teams import Shape

    data = body.data
    window, overlap = codec.coding_of(model, coding.window, coding.overlap, 1 if coding.lanes is None else coding.lanes)
    lanes = coding.lanes or codec.choose_lanes(len(data), window, coding.lane_size)
    threads = memory.threads or native.clip_threads(model.threads)
    shape = Shape(min(lanes, len(data)), window, overlap, threads)
    share, why = 0.0, ""
    if is_text and coding.share and len(data) >= trials.MIN_TRIAL:
        share = trials.share_with_model(model, data, shape)
        why = f"; the model makes a sample {share:.3f} times as large"
    predictor = memory.take(len(data))
    if not is_text or not coding.share or share > coding.share:
        stride = 0 if is_text else trials.stride_of(data, body.row)
        why += f"; records of {stride} bytes" if stride else ""
        return Coded(CM, body, codec.write_bytes(predictor, data, stride, progress)), why
    payload = codec.write_tokens(predictor, model, data, shape, progress)
    own = (window, overlap) if (window, overlap) != (model.window, model.overlap) else (None, None)
    return Coded(MODEL, body, payload, shape.lanes, *own), why


def describe(block: Block, n_bytes: int) -> str:
    """Its kind and transforms, and what it takes in the file: "model+crlf, 3 lanes, 5011 bytes, 1.00 bits/byte"."""
    kind = "+".join([container.KIND_NAMES[block.kind], *container.transform_names(block.mask)])
    lanes = f", {block.lanes} lanes" if block.lanes > 1 else ""
    rate = f", {8 * n_bytes / block.n_bytes:.2f} bits/byte" if block.n_bytes else ""
    return f"{kind}{lanes}, {n_bytes} bytes{rate}"


def decompress(block: Block, model: "Model | None", memory: Memory, progress: Progress | None = None) -> bytes:
    """The content of a block, compared with its content check. `model` is for model blocks alone.

    Raises ChecksumError or FormatError when the bytes are not those that were compressed, and gives none of them out.
    """
    data = made = _body(
        block, model, memory, progress and (lambda done: progress(done * block.n_bytes // block.body_size))
    )
    window = b""
    if block.mask & OPEN:
        data, window, made = _closed(block, data, memory)
    elif block.mask:
        from llmzip import transforms

        past = None if block.kind == STORED else memory.past
        data, made = transforms.undo(block.mask, data, block.side, block.n_bytes, past)
    if not block.is_content(data):
        raise ChecksumError("the decoded bytes are not the ones that were compressed")
    if block.kind != STORED:
        memory.learn(made, window)
    return data


def _closed(block: Block, body: bytes, memory: Memory) -> tuple[bytes, bytes, bytes]:
    """The content of a block that was opened, the window that it leaves, and what repeats may be of."""
    from llmzip import openings, transforms

    assert block.n_opened is not None
    own, side = transforms.split_sides(block.side)
    opened, made = transforms.undo(block.mask & ~OPEN, body, side, block.n_opened, memory.past)
    if len(opened) != block.n_opened:
        raise FormatError("the opened content has not the size that its block declares")
    content, window = openings.close_content(opened, own, block.n_bytes, memory.window)
    return content, window, made


def memory_needed(header: container.Header, model: "Model | None", memory: Memory) -> int:
    """Bytes that decoding this block takes at most beside the weights of the model, within a factor of some two.

    `memory`: of its group, before it. `model` None: it is not loaded yet, and what it takes for its positions is left
    out.
    """
    held = (1 << 23) + 3 * header.n_payload + 2 * header.body_size  # as read, as cut; the body, and in one piece
    if header.mask:
        from llmzip import transforms

        n_opened = header.n_bytes if header.n_opened is None else header.n_opened
        held += 3 * transforms.most_on_the_way(header.mask, n_opened)  # what one reads and makes, and its pieces
    if header.mask & OPEN:
        from llmzip import bzip2

        held += 2 * header.n_bytes + 4 * n_opened + bzip2.memory_needed(n_opened)  # what is made at each depth
    if header.kind in (CM, MODEL):
        from llmzip import predictor

        # all bodies, with flags; moved where they grow
        held += predictor.memory_needed(memory.line_bits) + 4 * memory.n_bytes + 2 * header.body_size
        n_made = header.n_bytes if header.n_opened is None else header.n_opened
        held += 2 * memory.n_made + min(n_made, container.REACH)
    if header.kind == MODEL:
        from llmzip import codec

        held += codec.memory_needed(header, model)
    return held


def _body(block: Block, model: "Model | None", memory: Memory, progress: Progress | None) -> bytes:
    if block.kind == STORED:
        return block.payload
    if block.kind not in (CM, MODEL) or (block.kind == MODEL and model is None):
        raise FormatError("a block of this type has no content")
    from llmzip import codec, native
    from llmzip.teams import Shape

    predictor = memory.take(block.body_size)
    if block.kind == CM:
        return codec.read_bytes(predictor, block.payload, block.body_size, progress)
    assert model is not None
    try:
        window, overlap = codec.coding_of(model, block.window, block.overlap, block.lanes)
    except CodingError as error:
        raise FormatError(str(error)) from error
    shape = Shape(block.lanes, window, overlap, memory.threads or native.clip_threads(model.threads))
    return codec.read_tokens(predictor, model, block.payload, block.body_size, shape, progress)
