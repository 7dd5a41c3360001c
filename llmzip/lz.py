"""The payload of lzma blocks: raw LZMA with the settings in its first two bytes (docs/format.md 3.4). And liblzma's filter for machine code.

The right settings are worth 2-8 % of a binary file, so the encoder tries a few. Nothing but the standard library.
"""

import lzma
from dataclasses import dataclass
from typing import Any

from llmzip.errors import FormatError

MIN_DICTIONARY = 4096
STEP = 1 << 18  # bytes coded in one go: between two, Ctrl-C is heard
SAMPLE_SIZE = 1 << 18  # bytes that the settings are chosen on
HOPELESS = 0.995  # coded share above which other settings would not help either: encrypted or compressed already
X86 = 255  # filter byte; 0 is none, 1 to 32 the distance of a delta filter


@dataclass(frozen=True)
class Settings:
    """How literals and positions are modelled (see LZMA SDK), and the filter before."""

    lc: int = 3
    lp: int = 0
    pb: int = 2
    filter: int = 0

    def chain(self, n_bytes: int) -> list[dict[str, Any]]:
        """For `lzma`. A dictionary of the size of the body is enough and bounds the decoder."""
        coder: dict[str, Any] = {"id": lzma.FILTER_LZMA1, "dict_size": max(MIN_DICTIONARY, n_bytes)}
        coder |= {"lc": self.lc, "lp": self.lp, "pb": self.pb}
        if self.filter == X86:
            return [{"id": lzma.FILTER_X86}, coder]
        if self.filter:
            return [{"id": lzma.FILTER_DELTA, "dist": self.filter}, coder]
        return [coder]

    def pack(self) -> bytes:
        return bytes([(self.pb * 5 + self.lp) * 9 + self.lc, self.filter])


# From most often best to seldom best. lc 4 and pb 0: bytes without alignment; lp: records of 2, 4 and 8 bytes; lc 0: noise.
TRIED = (
    Settings(),
    Settings(4, 0, 0),
    Settings(0, 0, 0),
    Settings(0, 1, 1),
    Settings(0, 2, 2),
    Settings(0, 3, 3),
    Settings(3, 0, 2, X86),
    Settings(0, 0, 0, 1),
    Settings(0, 1, 1, 2),
    Settings(0, 0, 0, 3),
    Settings(0, 2, 2, 4),
)


def create_payload(body: bytes, *, thorough: bool = True) -> bytes:
    """The smallest payload of those tried: with all settings, or, if not `thorough`, the usual ones alone."""
    first = _code(body, TRIED[0])
    if not thorough or len(first) > HOPELESS * len(body):
        return first
    start = (len(body) - SAMPLE_SIZE) // 2 if len(body) > SAMPLE_SIZE else 0
    sample = body[start : start + SAMPLE_SIZE]
    best = min(TRIED, key=lambda settings: len(_code(sample, settings)))
    return min(first, _code(body, best), key=len)


def _code(body: bytes, settings: Settings) -> bytes:
    chain = settings.chain(len(body))
    chain[-1] |= {"preset": 9 | lzma.PRESET_EXTREME}
    coder = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=chain)
    pieces = [coder.compress(body[at : at + STEP]) for at in range(0, len(body), STEP)]
    return b"".join([settings.pack(), *pieces, coder.flush()])


def parse_payload(payload: bytes, n_bytes: int) -> bytes:
    """The body, of exactly `n_bytes`. Raises FormatError for anything else."""
    settings = _parse_settings(payload)
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=settings.chain(n_bytes))
        body = decoder.decompress(payload[2:], n_bytes + 1)  # one more than there may be, so that the end mark is reached
    except lzma.LZMAError as error:
        raise FormatError(f"lzma data is damaged: {error}") from error
    if len(body) != n_bytes or not decoder.eof or decoder.unused_data:
        raise FormatError(f"lzma data does not have exactly {n_bytes} bytes")
    return body


def _parse_settings(payload: bytes) -> Settings:
    if len(payload) < 2:
        raise FormatError("lzma data is too short")
    properties, filter = payload[0], payload[1]
    rest, lc = divmod(properties, 9)
    pb, lp = divmod(rest, 5)
    if pb > 4 or lc + lp > 4:
        raise FormatError(f"lzma properties are damaged: {properties}")
    if filter > 32 and filter != X86:
        raise FormatError(f"lzma filter is damaged: {filter}")
    return Settings(lc, lp, pb, filter)


def filter_x86(data: bytes) -> bytes:
    """Branches of x86 code with their targets absolute instead of relative (BCJ), so that all calls of a function are the same bytes."""
    return _code_and_decode(data, with_filter=True, then_with_filter=False)


def unfilter_x86(data: bytes) -> bytes:
    return _code_and_decode(data, with_filter=False, then_with_filter=True)


def _code_and_decode(data: bytes, *, with_filter: bool, then_with_filter: bool) -> bytes:
    """The library gives its filter in front of a coder only: so the coder is undone."""
    coder = {"id": lzma.FILTER_LZMA1, "preset": 0, "dict_size": MIN_DICTIONARY}
    chains = [[{"id": lzma.FILTER_X86}, coder] if used else [coder] for used in (with_filter, then_with_filter)]
    coded = lzma.compress(data, format=lzma.FORMAT_RAW, filters=chains[0])
    return lzma.decompress(coded, format=lzma.FORMAT_RAW, filters=chains[1])
