"""Children of processes that have used a model. A child that hangs is killed and counts as such."""

import sys
from pathlib import Path

import pytest
from tiers import mostly_long

sys.path.insert(0, str(Path(__file__).parent))
import forks

OFTEN = (
    "loaded, then fork", "compressed, then fork", "torch operations, then fork", "fork of a fork",
    "multiprocessing, fork", "a file that was opened before",
)  # fmt: skip


@pytest.mark.parametrize("pattern", mostly_long([name for name in forks.PATTERNS if name not in forks.SLOW], OFTEN))
def test_children_work(pattern: str) -> None:
    assert forks.try_pattern(pattern, seed=0) == "right"
