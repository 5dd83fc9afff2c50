"""Damaged, hostile or outdated files: noticed, told, never executed, and made again."""

from __future__ import annotations

import logging
import os
import pickle
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import composed, digits, fit_in
from faults.conftest import Contents, contents, small
from omegaconf import DictConfig, OmegaConf, open_dict

from benchmark.config.build import build
from benchmark.job import run
from benchmark.store.entries import META, Store, key, read_meta
from victims.base import Victim
from victims.errors import NonFiniteLoss, UserError
from victims.training.train import CHECKPOINT, EARLIER, WEIGHTS, Training, load_victim

Config = Callable[..., DictConfig]
DATA = digits(0, 24)


class Malicious:
    """Its pickle creates a file when it is read."""

    def __init__(self, harm: Path) -> None:
        self.harm = harm

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.harm,)


# --- checkpoints ----------------------------------------------------------------------------------


SIX_STEPS = ("victim=dcgan", "victim.steps=6")


def victim_of(settings: DictConfig) -> Victim:
    torch.manual_seed(1)
    made: Victim = build(settings.victim, "victim", shape=(1, 32, 32))
    return made


@pytest.fixture
def fresh(config: Config) -> Callable[[], Victim]:
    return partial(victim_of, config(*SIX_STEPS))


def train(victim: Victim, folder: Path, stop: int | None = None) -> torch.Tensor:
    """Samples after training; `stop`: the batch at which the process would have been killed."""
    batches = iter(range(100))

    def read(rows: np.ndarray) -> torch.Tensor:
        if next(batches) == stop:
            raise MemoryError
        return DATA[rows]

    folder.mkdir(exist_ok=True)
    often = Training(checkpoint_every_s=0)
    fit_in(folder, victim, read, size=len(DATA), seed=5, training=often)
    codes = torch.randn(6, victim.z_dim, generator=torch.Generator().manual_seed(2))
    return load_victim(victim, folder).generate(codes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """Samples of a victim whose training nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    return train(victim_of(composed(folder, *SIX_STEPS)), folder)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """One bit of the largest tensor."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        with archive.open(largest) as stream:
            inside = path.read_bytes().index(stream.read()) + largest.file_size // 2
    content = bytearray(path.read_bytes())
    content[inside] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def outdate(path: Path) -> None:
    torch.save({"step": 3, "state": {}}, path)


def poison(path: Path) -> None:
    path.write_bytes(pickle.dumps({"done": 4, "weights": Malicious(path.parent / "harm")}))


def poison_inside(path: Path) -> None:
    torch.save({"done": 4, "weights": Malicious(path.parent / "harm")}, path)


DAMAGES = [truncate, flip, empty, outdate, poison, poison_inside]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("names", "left"), [((CHECKPOINT,), 3), ((CHECKPOINT, EARLIER), 0)])
def test_a_damaged_checkpoint_costs_steps_and_nothing_else(
    damage: Callable[[Path], None],
    names: tuple[str, ...],
    left: int,
    fresh: Callable[[], Victim],
    whole: torch.Tensor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(MemoryError):
        train(fresh(), tmp_path / "cut", stop=4)
    for name in names:
        damage(tmp_path / "cut" / "work" / name)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(train(fresh(), tmp_path / "cut"), whole)
    assert caplog.text.count("is damaged") == len(names)
    assert (f"resumed after step {left}" in caplog.text) == (left > 0)
    assert not list(tmp_path.rglob("harm"))


def test_a_checkpoint_of_other_networks_is_not_mixed_with_ours(
    fresh: Callable[[], Victim],
    whole: torch.Tensor,
    config: Config,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wider = build(config("victim=dcgan", "victim.width=6").victim, "victim", shape=(1, 32, 32))
    train(wider, tmp_path / "other")
    with caplog.at_level(logging.WARNING):
        assert torch.equal(train(fresh(), tmp_path / "other"), whole)
    assert "does not fit; training starts from step 0" in caplog.text


def test_training_goes_on_once_the_cause_of_a_nan_is_gone(
    fresh: Callable[[], Victim],
    whole: torch.Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    victim = fresh()
    step, taken = victim.training_step, []

    def spoilt(batch: torch.Tensor, *more: int) -> None:
        taken.append(batch)
        step(batch * torch.nan if len(taken) == 4 else batch, *more)

    monkeypatch.setattr(victim, "training_step", spoilt)
    with pytest.raises(NonFiniteLoss):
        train(victim, tmp_path / "spoilt")
    assert torch.equal(train(fresh(), tmp_path / "spoilt"), whole)


def test_weights_of_another_version_are_one_clear_line(
    fresh: Callable[[], Victim], config: Config, tmp_path: Path
) -> None:
    train(fresh(), tmp_path)
    wider = build(config("victim=dcgan", "victim.width=6").victim, "victim", shape=(1, 32, 32))
    with pytest.raises(UserError, match=r"weights\.safetensors: these are no weights of this") as e:
        load_victim(wider, tmp_path)
    assert "\n" not in str(e.value)


# --- what is published ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "file"),
    [("victim", WEIGHTS), ("bank", "codes.npy"), ("scores", "scores.npy"), ("strip", "strip.npz")],
)
def test_a_pickle_in_a_published_files_place_is_not_read(
    kind: str, file: str, undisturbed: Contents, tmp_path: Path
) -> None:
    """Even where whoever put it there made size, checksum and meta.json fit."""
    config = small(tmp_path)
    run.run(config)
    for folder, meta in list(Store(config.machine.store).find(kind)):
        path = folder / file
        hostile = np.empty(1, object)
        hostile[0] = Malicious(tmp_path / "harm")
        np.save(folder / "hostile.npy", hostile, allow_pickle=True)
        path.write_bytes((folder / "hostile.npy").read_bytes())
        (folder / "hostile.npy").unlink()
        forge(folder, meta, file)
        assert Store(config.machine.store).has(kind, meta["config"])
    with pytest.raises(Exception) as caught:  # noqa: PT011, which one is the library's affair
        run.run(config)
    assert not (tmp_path / "harm").exists()
    assert not isinstance(caught.value, AssertionError)


def forge(folder: Path, meta: dict[str, Any], file: str) -> None:
    """Make meta.json describe the file as it is now."""
    import hashlib
    import json

    content = (folder / file).read_bytes()
    known = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    meta = meta | {"files": meta["files"] | {file: known}}
    (folder / META).write_text(json.dumps(meta | {"sha256": key(meta)}))


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("shift", [-3e8, 3e8])
def test_a_clock_that_is_set_changes_no_score(
    shift: float, undisturbed: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(run, "result_of", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run.run(config)
    ((scores, _), *_) = Store(config.machine.store).find("scores")
    unfinished = scores.rename(scores.with_name(scores.name + ".partial"))
    (unfinished / META).unlink()
    (unfinished / "work").mkdir()
    (unfinished / "work" / "attempt.json").write_text(
        f'{{"before": 1.0, "started": {time.time()}}}'
    )
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift)
    for path in unfinished.rglob("*"):
        os.utime(path, (real() + shift,) * 2)
    run.run(config)
    assert contents(tmp_path) == undisturbed
    for kind in ("victim", "scores"):
        assert all(
            read_meta(path)["seconds"] >= 0 for path, _ in Store(config.machine.store).find(kind)
        )


# --- configs --------------------------------------------------------------------------------------


def renamed(config: DictConfig) -> None:
    config.victim.n_steps = config.victim.pop("steps")


def moved(config: DictConfig) -> None:
    config.victim._target_ = "victims.gan.DCGAN"


def without_a_group(config: DictConfig) -> None:
    config.pop("bank")


def without_a_setting(config: DictConfig) -> None:
    config.machine.pop("precision")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (renamed, ["victim", "n_steps"]),
        (moved, ["victim", "victims.gan.DCGAN"]),
        (without_a_group, ["bank", "another version"]),
        (without_a_setting, ["machine.precision", "another version"]),
    ],
)
def test_a_config_of_another_version_is_one_clear_line(
    change: Callable[[DictConfig], None], told: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As it would be read from an old job's folder: --config-path=outputs/... --config-name=config."""
    from benchmark.__main__ import main

    config = small(tmp_path)
    OmegaConf.resolve(config)
    with open_dict(config):
        change(config)
    (tmp_path / "old.yaml").write_text(OmegaConf.to_yaml(config))
    words = [f"--config-path={tmp_path}", "--config-name=old", f"hydra.run.dir={tmp_path}/outputs"]
    monkeypatch.setattr("sys.argv", ["benchmark", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    err = capsys.readouterr().err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    for part in told:
        assert part in line
    assert "Traceback" not in err
