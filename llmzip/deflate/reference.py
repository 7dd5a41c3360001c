"""Deflate streams in Python: what `deflate/fused.py` does, with the same bytes, slowly."""

from typing import Any

import numpy as np

from llmzip.deflate import corrections as walks
from llmzip.deflate.codes import LONG, STORED, length_of
from llmzip.deflate.corrections import Differs, Job, Known, TooSlow, Walk
from llmzip.deflate.inflate import STEPS_OF_BLOCK, Inflation, Invalid
from llmzip.deflate.parameters import WINDOW, Head, Parameters
from llmzip.deflate.parser import Parser
from llmzip.deflate.state import State
from llmzip.errors import FormatError
from llmzip.predictor.coder import Reader, Writer


class Stream:
    """See `llmzip.deflate.fused.Stream`."""

    def __init__(self, inflation: Inflation, before: State | None) -> None:
        self.last, self.at, self._before = inflation.last, inflation.at, before
        self._inflation, self._window = inflation, len(before.window) if before else 0
        names = ("type", "final", "padding", "n_tokens", "length", "first")
        self.blocks = {name: np.array([getattr(block, name) for block in inflation.blocks], np.int32) for name in names}
        self.tokens = np.array(inflation.tokens, np.uint32)
        self.flushes = np.flatnonzero([walks.is_flush(block) for block in inflation.blocks])
        self.plain = bytes(inflation.x[self._window :])

    def _job(self, parameters: Parameters, *, silent: bool, tail: bool = False) -> Job:
        known = Known(self._inflation.blocks, self._inflation.tokens, self._inflation.padding)
        before = self._before or State(b"")
        base = self._window - before.reach
        x = bytes(self._inflation.x)
        return Job(parameters, x, self._window, base, before.marks, self.last, silent, tail, before.lead, known)

    def misses(self, parameters: Parameters, n_tokens: int, stop: int) -> int:
        job = self._job(parameters, silent=True)
        p = Parser(parameters, job.x, job.window, job.base, last=job.last, marks=job.marks)
        at, missed = job.window, 0
        to_flush = walks.next_flush(job.known.blocks, 0, at)
        p.end = len(job.x) if to_flush < 0 else to_flush
        for i, block in enumerate(job.known.blocks):
            p.steps += STEPS_OF_BLOCK
            if walks.is_slow(p, at - job.window):
                return stop
            if walks.is_flush(block):
                to_flush = walks.next_flush(job.known.blocks, i + 1, at)
                p.flush(at, len(job.x) if to_flush < 0 else to_flush)
            if block.type == STORED:
                for _ in range(block.length):
                    p.follow(at, 1, 1)
                    p.pending = False
                    at += 1
                n_tokens -= block.length >> 4
                if n_tokens <= 0:
                    return missed
            for token in job.known.tokens[block.first : block.first + block.n_tokens]:
                predicted = p.predict(at)
                missed += token & ~LONG != predicted
                n_tokens -= 1
                if walks.is_slow(p, at - job.window):
                    return stop
                if missed >= stop or n_tokens <= 0:
                    return missed
                p.follow(at, token, predicted)
                at += length_of(token)
        return missed

    def is_exact(self, parameters: Parameters, *, tail: bool) -> bool:
        try:
            Walk(self._job(parameters, silent=True, tail=tail), Writer()).run()
        except (Differs, FormatError):
            return False
        return True

    def corrections(self, parameters: Parameters, most: int) -> bytes | None:
        coder = Writer()
        try:
            Walk(self._job(parameters, silent=False), coder).run()
        except TooSlow:
            return None
        payload = coder.payload()
        return payload if len(payload) <= most else None


def inflate(data: Any, start: int, most: int, before: State | None) -> Stream | None:
    before_bits = before.lead.bit_length() - 1 if before else 0
    try:
        inflation = Inflation(memoryview(data), 8 * start + before_bits, before.window if before else b"", most)
    except Invalid:
        return None
    return Stream(inflation, before)


def read(plain: Any, head: Head, corrections: bytes, before: State | None) -> tuple[bytes, State | None]:
    before = before or State(b"")
    window = len(before.window)
    x = before.window + bytes(plain)
    job = Job(
        head.parameters, x, window, window - head.reach, before.marks, head.last, head.exact, head.tail, head.lead
    )
    walk = Walk(job, Reader(corrections))
    try:
        walk.run()
    except TooSlow as error:
        raise FormatError("the corrections of a deflate stream are invalid") from error
    if head.last:
        return bytes(walk.out.bytes), None
    base = walk.parser.base
    return bytes(walk.out.bytes), State(x[-WINDOW:], walk.out.held, len(x) - base, walk.parser.marks(), head.parameters)
