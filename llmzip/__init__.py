"""llmzip: lossless compression driven by a language model."""

__version__ = "0.1.0"
