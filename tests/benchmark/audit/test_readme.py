"""The example in the README of audits runs, and finds what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import CONF


@pytest.mark.slow
def test_the_example_in_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (CONF.parent / "benchmark" / "audit" / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?benchmark\.audit.*?)```", readme, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    told = [
        float(number) for number in re.search(r"AUROC (\S+) for.*?, (\S+) for", readme).groups()
    ]  # type: ignore[union-attr]
    for bandwidth, auroc in zip((0.05, 0.5), told, strict=True):
        written = json.loads((tmp_path / f"audit-{bandwidth}" / "audit.json").read_text())
        assert written["verdict"] == "leak"
        assert written["strongest"]["auroc"] == pytest.approx(auroc, abs=0.001)
