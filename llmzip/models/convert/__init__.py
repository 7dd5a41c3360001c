"""Conversion of Hugging Face folders and GGUF files to the exact checkpoint folder.

Order-free itself: elementwise numpy float32, maxima, and decimal and integer arithmetic for the rotary tables, so one
source gives one fingerprint on every machine. Knows nothing of torch, of caches, or of the engine that runs the result.
"""

from llmzip.models.convert.gguf import convert_gguf
from llmzip.models.convert.hugging_face import convert_hf

__all__ = ["convert_gguf", "convert_hf"]
