"""Private training as a job asks for it: keys, columns, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from rich.console import Console

from benchmark.job import canaries, run
from benchmark.job.canaries import OneRun
from benchmark.job.prepare import prepare
from benchmark.job.request import open_request
from benchmark.measures import promise
from benchmark.show.page import render_job
from benchmark.show.terminal import print_table
from benchmark.store.entries import Store
from victims.errors import UserError

Config = Callable[..., DictConfig]
BARE = ("quality=none", "blind=none")
DP = ("dp=on", "dp.epsilon=null", "dp.noise_multiplier=1.0", "dp.accountant=rdp")


def victims(config: DictConfig) -> list[dict]:
    return [meta["config"] for _, meta in Store(config.machine.store).find("victim")]


@pytest.mark.usefixtures("without_figures")
def test_the_table_says_what_was_promised(config: Config) -> None:
    result = run.run(config("attack=[discriminator]", "quality=none", *DP))
    row = result.rows.iloc[0]
    assert 0 < row["epsilon"] < np.inf
    assert row["delta"] == pytest.approx(0.1 / 24)
    assert (row["sigma"], row["clipping_norm"]) == (1.0, 1.0)
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_table(result, console)
    text, page = console.export_text(), render_job(result)
    assert f"ε = {row['epsilon']:.3g}, δ = 0.0042, σ = 1, C = 1" in text
    assert "<small>promised</small>" in page
    assert all("nominal promise" in shown for shown in (text, page))
    lower = result.ok["epsilon_lower"]  # the blind baseline promises nothing
    assert ((lower >= 0) & (lower < 10)).all()


@pytest.mark.usefixtures("without_figures")
def test_without_privacy_the_promise_is_infinite_and_enters_no_key(config: Config) -> None:
    plain = config("attack=[discriminator]", "calibration=none", "quality=none")
    result = run.run(plain)
    assert (result.rows["epsilon"] == np.inf).all()
    assert result.rows["sigma"].isna().all()
    assert "nominal promise" not in {check.name for check in result.checks}
    assert "∞" in render_job(result)
    (filed,) = victims(plain)
    assert set(filed) == {"victim", "shape", "records", "count", "seed", "precision"}


def test_references_are_trained_like_the_victim_unless_said_otherwise(config: Config) -> None:
    both = config("attack=[discriminator]", *BARE, *DP)
    run.run(both)
    assert [filed["dp"]["noise_multiplier"] for filed in victims(both)] == [1.0, 1.0]
    run.run(config("attack=[discriminator]", *BARE, *DP, "reference.dp=null"))
    assert sum("dp" not in filed for filed in victims(both)) == 1


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["dp.epsilon=0"], ["dp.epsilon=0"]),
        (["dp.accountant=gdp"], ["dp.accountant=gdp", "prv", "rdp"]),
        (["victim.batch_size=25"], ["victim.batch_size=25", "24"]),
        (["dp.delta=0.5"], ["dp.delta=0.5", "1/24"]),
        (
            ["canaries=one_run", "canaries.kind=birds"],
            ["canaries.kind=birds", "'noise', 'spliced', 'records' or 'gradient'"],
        ),
        (
            ["canaries=one_run", "canaries.kind=records", "canaries.count=25"],
            ["canaries.count=25", "canaries.kind=noise"],
        ),
        (
            ["calibration=[difference]", "split.reference=4"],
            ["reference model 1 of 1: victim.batch_size=8", "4 training records"],
        ),
        (["canaries=gradient", "victim=gs_wgan"], ["canaries.kind=gradient", "this victim"]),
        (["canaries=gradient", "dp=off"], ["canaries.kind=gradient", "without dp=on"]),
        (["canaries=one_run", "dp.delta=0.04"], ["victim with canaries: dp.delta=0.04"]),
        (
            ["data=randhie", "victim=vae_table", "distance=l2"],
            ["data.encode=unit", "dp.public_encoding=true"],
        ),
        (
            ["data=randhie_mixed", "data.encode=none", "victim=vae_table", "distance=l2"],
            ["missing", "ghindx", "dp.public_encoding=true"],
        ),
    ],
)
def test_what_is_refused_before_training(
    config: Config, overrides: list[str], parts: list[str]
) -> None:
    with pytest.raises(UserError) as raised:
        run.run(config("calibration=none", "attack=[full_black_box]", "dp=on", *overrides))
    assert all(part in str(raised.value) for part in parts)
    assert not victims(config())


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("kind", ["noise", "records", "spliced"])
def test_the_one_run_audit(config: Config, kind: str) -> None:
    settings = config(
        "attack=[discriminator,full_black_box]", "calibration=none", "distance=l2", *BARE, *DP,
        "canaries=one_run", f"canaries.kind={kind}",
    )  # fmt: skip
    result = run.run(settings)
    assert list(result.canaries["attack"]) == ["discriminator", "full_black_box"]
    assert (result.canaries["canaries"] == 16).all()
    inside = int(result.canaries["inside"].iloc[0])
    assert 0 < inside < 16
    assert sorted(filed["count"] for filed in victims(settings)) == [24, 24 + inside]
    assert (result.canaries["epsilon"] != result.rows["epsilon"].iloc[0]).all()  # its own run's
    page = render_job(result)
    assert "One-run audit" in page
    assert f"{inside} of 16 inside" in page
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_table(result, console)
    assert f"{inside} of 16 inside" in console.export_text()


@pytest.mark.slow
def test_canaries_that_are_gradients_have_an_attacker_of_their_own(config: Config) -> None:
    """Loud noise shows nothing, hardly any shows nearly all; and the noise is told by the key."""
    words = "attack=[full_black_box]", "calibration=none", "distance=l2", *BARE, "canaries=gradient"
    words += "canaries.count=200", "dp=on", "dp.epsilon=null", "dp.accountant=rdp"
    words += "victim.steps=12", "victim.batch_size=24"
    lower = []
    for noise in ("0.1", "30"):
        settings = config(*words, f"dp.noise_multiplier={noise}")
        (row,) = run.run(settings).canaries.to_dict("records")
        assert (row["attack"], row["canaries"]) == ("noised_gradients", 200)
        lower.append(row["epsilon_lower"])
        again = run.run(config(*words, f"dp.noise_multiplier={noise}", "attack=[discriminator]"))
        assert again.canaries.to_dict("records") == [row]
    assert lower[0] > 1
    assert lower[1] < 0.5
    assert sum("gradients" in filed for filed in victims(settings)) == 2


@pytest.mark.parametrize("data", ["mnist5k", "randhie_mixed"])
def test_spliced_canaries_are_halves_of_two_non_members(config: Config, data: str) -> None:
    table = ["victim=tvae", "distance=l2"] if data == "randhie_mixed" else []
    words = [f"data={data}", "calibration=none", "attack=[full_black_box]", *table]
    trial = prepare(open_request(config(*words))).trial
    dataset, split = OneRun(16, "spliced").plant(trial.dataset, trial.split, 0)
    made = dataset.records(split.draw_queries(0)[0]).numpy()
    known = trial.dataset.records(trial.split.non_members).numpy()
    width, schema = known.shape[-1], trial.dataset.schema
    cuts = [span.stop for _, span in schema.spans] if schema else [width // 2]
    cut = min(stop for stop in cuts if stop >= width // 2)
    for canary in made:
        left, right = (
            {i for i, own in enumerate(known) if np.array_equal(own[part], canary[part])}
            for part in ((..., slice(cut)), (..., slice(cut, None)))
        )
        assert left
        assert right


@pytest.mark.parametrize("data", ["mnist5k", "randhie_binary"])
def test_canaries_are_behind_the_data_and_are_the_only_queries(config: Config, data: str) -> None:
    table = ["victim=vae_table", "distance=l2"] if data == "randhie_binary" else []
    words = [f"data={data}", "calibration=none", "attack=[full_black_box]", *table]
    trial = prepare(open_request(config(*words))).trial
    dataset, split = OneRun(16, "noise").plant(trial.dataset, trial.split, 0)
    rows, inside = split.draw_queries(0)
    assert sorted(rows) == list(range(len(trial.dataset.digests), len(trial.dataset.digests) + 16))
    assert set(rows[inside]) <= set(split.members)
    assert not set(rows[~inside]) & set(split.members)
    torch.testing.assert_close(
        dataset.records(split.members)[:24], trial.dataset.records(trial.split.members)
    )
    planted = dataset.records(rows)
    assert planted.unique(dim=0).shape == planted.shape
    assert planted.min() >= trial.dataset.records(trial.split.members).min()
    assert dataset.digest(rows) != trial.dataset.digest(trial.split.members[:16])
    again, _ = OneRun(16, "noise").plant(trial.dataset, trial.split, 0)
    assert dataset.digest(rows) == again.digest(rows)


def test_what_breaks_the_promise_is_an_error() -> None:
    member = np.arange(400) < 200
    scores = pd.DataFrame(
        {"attack": "a", "calibrated": "none", "member": member, "score": 9.0 * member}
    )
    spent = {"epsilon": 1.0, "delta": 1e-4, "noise_multiplier": 1.0, "max_grad_norm": 1.0}
    (check,) = promise.check_broken(scores, spent, pd.DataFrame())
    assert (check.level, check.name) == ("error", "broken promise")
    assert "a (calibrated: none) shows epsilon to be at least 3." in check.message
    assert promise.check_broken(scores, spent | {"epsilon": 5.0}, pd.DataFrame()) == []
    assert promise.check_broken(scores, None, pd.DataFrame()) == []
    coins = np.random.default_rng(0).random(200) < 0.5
    planted = canaries.audit_canaries({"a": coins + 0.0}, coins, spent, 0)
    assert "200 canaries" in promise.check_broken(scores[:0], spent, planted)[0].message
