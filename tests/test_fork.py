"""Children of processes that have used a model. A child that hangs is killed and counts as such."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import forks


@pytest.mark.parametrize("pattern", [name for name in forks.PATTERNS if name not in forks.SLOW])
def test_children_work(pattern: str) -> None:
    assert forks.try_pattern(pattern, seed=0) == "right"
