"""llmzip: lossless compression driven by a language model.

The names here are loaded when they are first used, so that `import llmzip` costs nothing: neither numpy nor torch is
imported by it.
Nor is `typing`: until the command sees to signals, Ctrl-C ends it with a traceback.
"""

TYPE_CHECKING = False  # True for who checks types
if TYPE_CHECKING:
    from llmzip.api import compress, decompress, get_info, salvage
    from llmzip.damage import Damage
    from llmzip.errors import (
        ChecksumError,
        EngineMismatch,
        FormatError,
        LimitExceeded,
        LlmzipError,
        ModelError,
        ModelInvalid,
        ModelNotFound,
        TruncatedError,
        UnsupportedError,
    )
    from llmzip.file import LmzFile, open
    from llmzip.stream import LmzCompressor, LmzDecompressor

    __version__: str

__all__ = [
    "ChecksumError",
    "Damage",
    "EngineMismatch",
    "FormatError",
    "LimitExceeded",
    "LlmzipError",
    "LmzCompressor",
    "LmzDecompressor",
    "LmzFile",
    "ModelError",
    "ModelInvalid",
    "ModelNotFound",
    "TruncatedError",
    "UnsupportedError",
    "compress",
    "decompress",
    "get_info",
    "open",
    "salvage",
]

_HOMES = {
    "Damage": "damage",
    "LmzCompressor": "stream",
    "LmzDecompressor": "stream",
    "LmzFile": "file",
    "compress": "api",
    "decompress": "api",
    "get_info": "api",
    "open": "file",
    "salvage": "api",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = _version()
    elif name in __all__:
        from importlib import import_module

        value = getattr(import_module(f"llmzip.{_HOMES.get(name, 'errors')}"), name)
    else:
        raise AttributeError(f"module 'llmzip' has no attribute {name!r}")
    globals()[name] = value
    return value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("llmzip")
    except PackageNotFoundError:  # run from a source tree that is not installed: the number is in pyproject.toml alone
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
