"""Private training as a job asks for it: keys, columns, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from omegaconf import DictConfig
from rich.console import Console

from benchmark import job
from benchmark.output import print_table
from benchmark.page import render
from benchmark.store import Store
from victims.access import UserError

Config = Callable[..., DictConfig]
DP = ("dp=on", "dp.epsilon=null", "dp.noise_multiplier=1.0", "dp.accountant=rdp")


def victims(config: DictConfig) -> list[dict]:
    return [meta["config"] for _, meta in Store(config.machine.store).find("victim")]


def test_the_table_says_what_was_promised(config: Config) -> None:
    result = job.run(config("attack=[discriminator]", *DP))
    row = result.rows.iloc[0]
    assert 0 < row["epsilon"] < np.inf
    assert row["delta"] == pytest.approx(0.1 / 24)
    assert (row["sigma"], row["clipping_norm"]) == (1.0, 1.0)
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_table(result, console)
    assert f"ε = {row['epsilon']:.3g}, δ = 0.0042, σ = 1, C = 1" in console.export_text()
    assert "of private training" in render(result)


def test_without_privacy_the_promise_is_infinite_and_keys_are_as_before(config: Config) -> None:
    plain = config("attack=[discriminator]", "calibration=none")
    result = job.run(plain)
    assert (result.rows["epsilon"] == np.inf).all()
    assert result.rows["sigma"].isna().all()
    assert "of private training" not in render(result)
    (filed,) = victims(plain)
    assert set(filed) == {"victim", "shape", "records", "count", "seed"}


def test_references_are_trained_like_the_victim_unless_said_otherwise(config: Config) -> None:
    both = config("attack=[discriminator]", *DP)
    job.run(both)
    assert [filed["dp"]["noise_multiplier"] for filed in victims(both)] == [1.0, 1.0]
    job.run(config("attack=[discriminator]", *DP, "reference.dp=null"))
    assert sum("dp" not in filed for filed in victims(both)) == 1


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["dp.epsilon=0"], ["dp.epsilon=0"]),
        (["dp.accountant=gdp"], ["dp.accountant=gdp", "prv, rdp"]),
        (["victim.batch_size=25"], ["victim.batch_size=25", "24"]),
        (["dp.delta=0.5"], ["dp.delta=0.5", "1/24"]),
        (["data=randhie", "victim=vae_table"], ["data.encode=unit", "dp.public_encoding=true"]),
    ],
)
def test_what_is_refused_before_training(
    config: Config, overrides: list[str], parts: list[str]
) -> None:
    with pytest.raises(UserError) as raised:
        job.run(config("calibration=none", "attack=[full_black_box]", "dp=on", *overrides))
    assert all(part in str(raised.value) for part in parts)
    assert not victims(config())
