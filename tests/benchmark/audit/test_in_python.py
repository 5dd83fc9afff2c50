"""`audit(...)` within programs of others: their Hydra stays theirs, errors are UserError."""

from __future__ import annotations

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
