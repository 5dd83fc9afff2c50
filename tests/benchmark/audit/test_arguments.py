"""Paths on the command line reach the config as they were typed."""

from __future__ import annotations

import pytest
from conftest import CONF
from hydra import compose, initialize_config_dir

from benchmark.audit.arguments import SOURCES, as_overrides


@pytest.mark.parametrize(
    "path",
    ["train.csv", "My Data/train (1), new.csv", "it's.csv", "a=b.csv", "C:\\data\\x.csv", "x\\'y",
     "[a].csv", "{a: b}.csv", "$HOME.csv", "ends\\", "null-model", "ä ö"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["members", "data", "reference"])
def test_a_path_means_what_it_says(name: str, path: str) -> None:
    words = as_overrides([f"{name}={path}", "seed=3"])
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("audit", words)
    assert config.given[name] == path
    assert config.seed == 3


def test_quotes_of_the_shell_and_other_words_are_left_alone() -> None:
    assert as_overrides(["members='a b'", "generator.z=3", "samples=null", "-m"]) == [
        "given.members='a b'", "generator.z=3", "given.samples=null", "-m",
    ]  # fmt: skip


def test_every_source_has_its_place_in_the_config() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert set(compose("audit").given) == set(SOURCES)
