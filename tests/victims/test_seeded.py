"""Seeds of training steps."""

from __future__ import annotations

import pytest
import torch

from victims.seeded import seed_step


def test_a_step_draws_what_its_number_says() -> None:
    drawn = []
    for step in (0, 1, 10**6, 0):
        seed_step(3, step)
        drawn.append(torch.randn(4))
    torch.testing.assert_close(drawn[0], drawn[3], rtol=0, atol=0)
    assert len({tuple(one.tolist()) for one in drawn}) == 3
    torch.manual_seed(3)
    torch.testing.assert_close(torch.randn(4), drawn[0], rtol=0, atol=0)


def test_devices_in_use_are_seeded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "manual_seed", seeds.append)
    seed_step(3, 1)
    assert seeds[0] == seeds[1] == torch.initial_seed()
