"""Folders for results: one result each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmark.config.build import choices
from benchmark.config.commandline import refuse_nothing
from benchmark.show.texts import to_yaml
from benchmark.store.folders import claim, free, home, with_home
from victims.errors import UserError


def test_all_who_start_in_one_second_have_a_folder_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: free(str(tmp_path / "out"), "audit"), range(40)))
    assert len(set(made)) == 40
    assert all(Path(folder).is_dir() and folder.endswith("_audit") for folder in made)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"machine\.outputs=.*file/x: Not a directory"):
        free(f"{tmp_path}/file/x", "job")


def test_a_folder_takes_one_result(tmp_path: Path) -> None:
    config = {"seed": 1, "machine": {"threads": 1, "precision": "32-true"}}
    lock = claim(tmp_path / "a", config)
    with pytest.raises(UserError, match="another process"):
        claim(tmp_path / "a", config)
    lock.release()  # a job that failed may use its folder again
    claim(tmp_path / "a", config).release()
    (tmp_path / "a" / "index.html").touch()
    with pytest.raises(UserError, match="another result"):
        claim(tmp_path / "a", config)
    (tmp_path / "a" / "config.yaml").write_text(to_yaml(config))
    same = config | {"machine": {"threads": 2, "precision": "32-true"}}
    claim(tmp_path / "a", same).release()  # the same command once more, or after a kill
    with pytest.raises(UserError, match="another result"):
        claim(tmp_path / "a", config | {"seed": 2})
    (tmp_path / "a" / "config.yaml").write_text("[")
    with pytest.raises(UserError, match="another result"):
        claim(tmp_path / "a", config)


def test_the_home_folder_is_known_in_every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    words = ["members=~/a b.csv", "machine.store=~", "~dp", "x=a~b", "hydra.run.dir=~/out", "-m"]
    wanted = ["members=/home/ada/a b.csv", "machine.store=/home/ada", "~dp", "x=a~b"]
    assert with_home(words) == [*wanted, "hydra.run.dir=/home/ada/out", "-m"]
    with pytest.raises(UserError, match="home folder"):
        home("~nobody-of-this-name/x")


@pytest.mark.parametrize("group", ["logger", "attack", "machine", "dp", "hydra/job_logging"])
def test_no_group_can_be_null(group: str) -> None:
    with pytest.raises(UserError, match=f"{group}=null: a file is needed; choose of"):
        refuse_nothing([f"{group}=null"])
    refuse_nothing([f"{group}={choices(group)[0]}", "seed=null", "victim@reference.victim=null"])
