"""Compress and decompress in pieces, in bounded memory: members of an .lmz file, as they grow or arrive.

Knows nothing of files. Imports neither torch nor numpy before a block needs a model. The objects are not thread-safe.
"""

from llmzip.models.source import ModelSource
from llmzip.stream.groups import BLOCK_SIZE
from llmzip.stream.progress import Progress
from llmzip.stream.reading import CHUNK_SIZE, LmzDecompressor, MemberReader
from llmzip.stream.writing import GROUP_SIZE, LmzCompressor

__all__ = [
    "BLOCK_SIZE",
    "CHUNK_SIZE",
    "GROUP_SIZE",
    "LmzCompressor",
    "LmzDecompressor",
    "MemberReader",
    "ModelSource",
    "Progress",
]
