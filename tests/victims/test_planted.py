"""Canaries that are gradients: what is put in, what is seen, and bounds where the truth is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import fit_in, names, records, stopped_at_batch_three
from numpy.random import default_rng
from omegaconf import DictConfig
from opacus.optimizers import DPOptimizer
from scipy.stats import norm
from torch import Tensor, nn

from benchmark.config.build import build
from benchmark.measures import epsilon, gaussian
from victims.accounting import epsilon_of_steps as price
from victims.base import Victim
from victims.errors import UserError
from victims.planted import LENGTH, GradientCanaries
from victims.private import Mechanism
from victims.training.batches import PoissonBatches

Config = Callable[..., DictConfig]
DELTA = 1e-5
COUNT, ORDINARY = 600, 12
PER_RECORD = [name for name in names("victim") if name not in ("gs_wgan", "ctgan", "package")]


class Tiny(nn.Module):
    """A network of 1 025 weights, and what a private step needs beside it."""

    def __init__(self, canaries: GradientCanaries, queries: int) -> None:
        super().__init__()
        self.network, self.canaries, self.queries = nn.Linear(40, 25), canaries, queries
        self.register_buffer("private_steps", torch.zeros((), dtype=torch.int64))


def audited(
    seed: int, noise: float, steps: int, rate: float, queries: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Evidence on canaries and their coins, after private steps on them and ordinary records."""
    coins = default_rng([5, seed]).random(COUNT) < 0.5
    numbers = np.concatenate([np.full(ORDINARY, -1), np.flatnonzero(coins)])
    victim = Tiny(GradientCanaries(numbers, COUNT, seed), queries)
    x = torch.randn(len(numbers), 40)
    batches = PoissonBatches(x.__getitem__, len(x), rate, 0, steps, seed)
    victim.canaries.drawn = batches.rows_of_batch
    mechanism = Mechanism(noise, 0.5, rate, 20, 300, limit=steps * queries)
    optimizer = torch.optim.Adam(victim.parameters(), 0.01)
    torch.manual_seed(seed)
    for step in range(steps):
        for _ in range(queries):
            batch = (batches[step],)
            mechanism.take_step(
                victim, optimizer, lambda x: victim.network(x).square().sum(1), batch
            )
    return victim.canaries.evidence.numpy(), coins


@pytest.mark.parametrize("name", PER_RECORD)
def test_what_is_seen_is_the_canaries_in_the_batch(
    config: Config, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Almost without noise, a step shows 1 for each canary that is drawn, and 0 for all others."""
    data, settings = records(name), config(f"victim={name}", "dp=on")
    victim: Victim = build(settings.victim, "victim", shape=tuple(data.shape[1:]))
    victim.make_private()
    build(settings.dp, "dp", epsilon=None, noise_multiplier=1e-4).attach_mechanism(
        victim, len(data)
    )
    numbers = np.full(len(data), -1)
    numbers[3::2] = np.arange(len(numbers[3::2])) + 2  # the first two are left out
    victim.canaries = GradientCanaries(numbers, 20, 0)
    seen: list[Tensor] = []

    def noted(self: GradientCanaries, noised: Tensor) -> None:
        seen.append(noised[self.weights(len(noised))].double())

    monkeypatch.setattr(GradientCanaries, "note_noised_sum", noted)
    drawn: list[np.ndarray] = []

    def read(rows: np.ndarray) -> Tensor:
        drawn.append(rows)
        return data[rows]

    fit_in(tmp_path, victim, read, size=len(data), seed=5)
    shown = torch.stack(seen).view(victim.steps, victim.queries, -1)
    for step, rows in enumerate(drawn):
        wanted = torch.zeros(20, dtype=torch.float64)
        wanted[numbers[rows][numbers[rows] >= 0]] = 1
        torch.testing.assert_close(
            shown[step], wanted.expand(victim.queries, -1), atol=2e-3, rtol=0
        )
    assert sum(int((numbers[rows] >= 0).sum()) for rows in drawn) > 0


def test_a_canary_is_longer_than_allowed_and_lies_where_no_other_gradient_does() -> None:
    canaries = GradientCanaries(np.array([-1, 2, -1, 0]), 3, seed=1)
    slopes = [torch.randn(4, 5, 2), torch.randn(4, 3)]
    kept = [slope.clone() for slope in slopes]
    made = canaries.replace_gradients(slopes, canaries.numbers, norm=0.5)
    flat = torch.cat([slope.flatten(1) for slope in made], 1)
    before = torch.cat([slope.flatten(1) for slope in kept], 1)
    assert all(torch.equal(own, other) for own, other in zip(slopes, kept, strict=True))
    places = canaries.weights(13)
    assert len(set(places.tolist())) == 3
    others = torch.ones(13, dtype=torch.bool)
    others[places] = False
    for row in (0, 2):
        assert torch.equal(flat[row, others], before[row, others])
        assert (flat[row, places] == 0).all()
    for row, number in ((1, 2), (3, 0)):
        assert flat[row].count_nonzero() == 1
        assert flat[row, places[number]] == LENGTH * 0.5
    with pytest.raises(UserError, match=r"canaries.count=3.*at most 2"):
        canaries.weights(2)


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_the_evidence_is_the_log_likelihood_ratio(rate: float) -> None:
    canaries = GradientCanaries(np.array([0]), 4, seed=0)
    rng, wanted = default_rng(0), np.zeros(4)
    for _ in range(3):
        steps = rng.normal(size=(2, 9))
        for step in steps:
            canaries.note_noised_sum(torch.from_numpy(step))
        canaries.add_evidence(0.8, rate, 2)
        total = steps.sum(0)[canaries.weights(9).numpy()]
        spread = 0.8 * np.sqrt(2)
        inside = rate * norm.pdf(total, 2, spread) + (1 - rate) * norm.pdf(total, 0, spread)
        wanted += np.log(inside) - norm.logpdf(total, 0, spread)
    np.testing.assert_allclose(canaries.evidence.numpy(), wanted, rtol=1e-5)


SETTINGS = {
    "one step": (0.8, 1, 1.0, 1),
    "samples": (0.7, 12, 0.25, 1),
    "two steps a batch": (2.2, 4, 1.0, 2),
}
"""Noise, steps, rate, and private steps on a batch."""


@pytest.mark.parametrize(
    "name",
    [
        name if name == "one step" else pytest.param(name, marks=pytest.mark.slow)
        for name in SETTINGS
    ],
)
def test_no_bound_passes_the_truth_more_often_than_promised(name: str) -> None:
    """60 audits at 95%: more than 8 above have a chance of 0.3%. The bounds are no trifles."""
    noise, steps, rate, queries = SETTINGS[name]
    truth = price(noise / np.sqrt(queries), steps, rate, DELTA, "prv")
    found = []
    for seed in range(60):
        scores, coins = audited(seed, noise, steps, rate, queries)
        found.append(
            [
                epsilon.one_run(scores, coins, DELTA),
                gaussian.one_run(scores, coins, DELTA),
                gaussian.from_roc(scores[coins], scores[~coins], DELTA),
            ]
        )
    assert ((np.array(found) > truth).sum(0) <= 8).all(), truth
    plain, same, roc = np.median(found, axis=0)
    assert same >= plain >= truth / 8
    assert roc >= truth / 4


def quiet(optimizer: DPOptimizer) -> None:
    optimizer.noise_multiplier /= 6
    ADD_NOISE(optimizer)


ADD_NOISE = DPOptimizer.add_noise


def everybody(batches: PoissonBatches, step: int) -> np.ndarray:
    return np.arange(batches.size)


@pytest.mark.slow
@pytest.mark.parametrize("noise_steps_rate", [(6.0, 20, 0.3), (1.6, 10, 0.08)])
def test_a_broken_mechanism_is_told(
    noise_steps_rate: tuple[float, int, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the bound that holds for every mechanism, in each of five runs; and no sound one."""
    promise = price(*noise_steps_rate, DELTA, "prv")

    def bounds() -> list[float]:
        runs = [audited(seed, *noise_steps_rate) for seed in range(5)]
        return [epsilon.one_run(*run, DELTA) for run in runs]

    assert max(bounds()) < promise
    if noise_steps_rate[2] > 0.1:
        monkeypatch.setattr(DPOptimizer, "add_noise", quiet)
    else:
        monkeypatch.setattr(PoissonBatches, "rows_of_batch", everybody)
    assert min(bounds()) > promise


def test_an_interrupted_audit_ends_in_the_same_evidence(config: Config, tmp_path: Path) -> None:
    data, settings = records("vaegan"), config("victim=vaegan", "dp=on")

    def make() -> Victim:
        torch.manual_seed(1)
        victim: Victim = build(settings.victim, "victim", shape=tuple(data.shape[1:]))
        victim.make_private()
        build(settings.dp, "dp", epsilon=None, noise_multiplier=0.5).attach_mechanism(
            victim, len(data)
        )
        victim.canaries = GradientCanaries(np.arange(len(data)) - 9, 15, 0)
        return victim

    whole = make()
    fit_in(tmp_path, whole, data.__getitem__, size=len(data), seed=7)
    halves = stopped_at_batch_three(make, data, tmp_path / "halves")
    assert whole.canaries is not None
    assert halves.canaries is not None
    assert whole.canaries.evidence.abs().min() > 0
    assert torch.equal(whole.canaries.evidence, halves.canaries.evidence)
