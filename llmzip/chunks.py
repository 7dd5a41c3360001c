"""numcodecs: a codec "lmz" for the chunks of arrays, as Zarr has them. numcodecs finds it by an entry point.

Made for chunks of text, records and small integers; floating-point noise is better off elsewhere.
Filters of numcodecs (Delta, FixedScaleOffset, ...) go before it.
"""

from functools import lru_cache
from io import BytesIO
from typing import Any

from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ensure_contiguous_ndarray, ndarray_copy

from llmzip.models.source import ModelSource
from llmzip.stream import LmzCompressor, MemberReader


@lru_cache(maxsize=4)
def _source(model: str | None) -> ModelSource:
    """So that a model is loaded once for all chunks."""
    return ModelSource(model)


class Lmz(Codec):  # type: ignore[misc]
    """Each chunk is an .lmz file of its own. `model`: that it is written with; reading finds it by itself."""

    codec_id = "lmz"

    def __init__(self, model: str | None = None) -> None:
        self.model = model

    def encode(self, buf: Any) -> bytes:
        """The .lmz file of a chunk: of its bytes, in their order."""
        data = ensure_contiguous_ndarray(buf).view("u1")
        source = _source(self.model)
        compressor = LmzCompressor(source.to_compress() if data.size else None)
        return compressor.compress(data) + compressor.flush()

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The bytes of a chunk, into `out` if that is given."""
        data = MemberReader(BytesIO(ensure_bytes(buf)).read, _source(None), side_by_side=True).read()
        return ndarray_copy(data, out)
