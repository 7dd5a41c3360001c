"""Compress and decompress in pieces, in bounded memory: members of an .lmz file, as they grow or arrive.

Knows nothing of files. Imports neither torch nor numpy before a block needs a model. The objects are not thread-safe.
"""

from llmzip.models.source import ModelSource
from llmzip.stream.progress import Progress
from llmzip.stream.reading import CHUNK_SIZE, LmzDecompressor, MemberReader
from llmzip.stream.writing import LmzCompressor

__all__ = [
    "CHUNK_SIZE",
    "LmzCompressor",
    "LmzDecompressor",
    "MemberReader",
    "ModelSource",
    "Progress",
]
