"""Where the bits of a file went: `llmzip explain`. Its parts sum to the file, to the 2^24th of a bit.

`account` decodes a file with a predictor that keeps account (`watching`); `record` and `page` show what was found.
"""

from llmzip.explain.account import Explanation, explain, is_packed

__all__ = ["Explanation", "explain", "is_packed"]
