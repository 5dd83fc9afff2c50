"""`audit(...)` within programs of others: their Hydra stays theirs, errors are UserError."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra import initialize
from hydra.core.global_hydra import GlobalHydra

from benchmark.audit import audit
from victims.errors import UserError

WRONG = {
    "+memberss=m.csv": "there is no setting memberss",
    "foo=1": "foo: there is no such setting",
    "attack=[nope]": "there is no such choice",
    "attack=a,b": r"write attack=\[a,b\] for a list, or add -m",
    "seed": "this cannot be read",
    "bank=null": "choose of released",
    "machine.store=~no-one-of-this-name/x": "home folder",
}


@pytest.mark.parametrize("word", WRONG)
def test_unknown_words_are_one_line(word: str) -> None:
    with pytest.raises(UserError, match=WRONG[word]) as caught:
        audit(np.zeros((9, 2)), np.ones((9, 2)), samples=np.ones((9, 2)), settings=[word])
    assert "\n" not in str(caught.value)


def test_an_application_of_hydra_stays_as_it_is() -> None:
    with initialize(None, version_base="1.1"):
        mine = GlobalHydra.instance()
        with pytest.raises(UserError, match="seed=-1"):
            audit(1, 2, samples=3, settings=["seed=-1"])
        assert GlobalHydra.instance() is mine
        assert mine.is_initialized()


def test_fewer_samples_than_an_attack_looks_for_rule_nothing_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With three copies of members, no attack by distance ran, and no leak was found."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 6))
    released = rows[:3] + 0.01 * rng.normal(size=(3, 6))
    words = ["fail_if.auroc_upper=0.9", "machine.progress=false"]
    found = audit(rows[:300], rows[300:], samples=released, settings=words).verdict
    assert found.word == "inconclusive"
    assert found.exceeded == {"auroc_upper": "an attack failed, so nothing is ruled out"}
