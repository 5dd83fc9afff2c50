"""The encoder attack: the mean over passes, computed by hand on a known encode-decode pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import built
from torch import Tensor

from attacks.distances import L2
from attacks.encoder import EncoderReconstruction
from benchmark.measures import metrics
from victims.access import AccessibleEncoder
from victims.errors import UserError


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


class Noisy:
    """A pass that gives back the query plus noise, the same for every row of a seed."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, x: Tensor, seed: int) -> Tensor:
        self.calls.append((len(x), seed))
        return x + torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed))


def view(reconstruct: Noisy, batch_size: int = 4) -> AccessibleEncoder:
    return AccessibleEncoder(torch.device("cpu"), batch_size, reconstruct)


def test_the_score_is_minus_the_mean_distance_over_the_passes() -> None:
    attack, queries = EncoderReconstruction(L2(), draws=5, seed=3), torch.rand(6, 10)
    noise = [
        torch.randn(10, generator=torch.Generator().manual_seed(seed)).numpy()
        for seed in attack.seeds
    ]
    expected = -np.mean([np.mean(each**2) for each in noise])
    scores = attack.score(view(Noisy()), queries)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, np.full(6, expected), rtol=1e-5)


def test_every_query_gets_the_same_passes_in_batches_that_fit() -> None:
    attack, passes = EncoderReconstruction(L2(), draws=3, seed=0), Noisy()
    attack.score(view(passes), torch.rand(6, 10))
    assert len(set(attack.seeds)) == 3
    assert passes.calls == [(n, seed) for n in (4, 2) for seed in attack.seeds]


def test_the_first_pass_is_shown() -> None:
    attack, queries = EncoderReconstruction(L2(), draws=2, seed=0), torch.rand(6, 10)
    losses, found = attack.reconstruct(view(Noisy()), queries)
    torch.testing.assert_close(found, Noisy()(queries, attack.seeds[0]))
    np.testing.assert_allclose(losses, -attack.score(view(Noisy()), queries))


def test_the_seed_decides_the_passes() -> None:
    seeds = [EncoderReconstruction(L2(), draws=4, seed=seed).seeds for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_records_that_come_back_better_score_higher() -> None:
    members, others = torch.rand(2, 40, 10, generator=torch.Generator().manual_seed(0))

    def forgets_others(x: Tensor, seed: int) -> Tensor:
        known = (x[:, None] == members).all(2).any(1)[:, None]
        return torch.where(known, x, x + 0.5)

    granted = AccessibleEncoder(torch.device("cpu"), 16, forgets_others)
    attack = EncoderReconstruction(L2(), draws=2, seed=0)
    assert metrics.auroc(attack.score(granted, members), attack.score(granted, others)) == 1.0


def test_no_passes_is_a_mistake() -> None:
    distance = {"_target_": "attacks.distances.L2"}
    with pytest.raises(UserError, match="draws=0"):
        built(EncoderReconstruction, "attack", distance=distance, draws=0, seed=0)
