"""A job that is done once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from common import Shared, composed

from benchmark.job import run


@pytest.fixture(scope="session")
def done(shared: Shared) -> Path:
    """The folder of a job with every default."""
    return shared("default job", lambda folder: run.run(composed(folder)))
