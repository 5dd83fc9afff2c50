"""Attacks on the denoiser of a table's diffusion model: what is asked, and what is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PEOPLE, composed, fit_in, people

from attacks.base import Attack
from attacks.noise import own_noise
from benchmark.config.build import build, build_all
from benchmark.job import run as job
from benchmark.measures import metrics
from victims.access import AccessibleDenoiser, AccessibleDenoiserWithShadows, Shadow
from victims.base import Victim
from victims.errors import Unsuited
from victims.schema import Column, Schema
from victims.training.train import load_victim

N = 40
EMPTY = np.zeros((1, 1), np.float32)


def victim(folder: Path, schema: Schema = PEOPLE, *words: str) -> Any:
    torch.manual_seed(0)
    config = composed(folder, "victim=tab_ddpm", *words).victim
    return build(config, "victim", shape=(schema.width,), schema=schema)


def trained(folder: Path, rows: torch.Tensor, seed: int) -> Victim:
    """A model that has learnt these records by heart."""
    sizes = ("steps=700", "batch_size=160", "widths=[128,128]", "decay=0.9", "learning_rate=0.003")
    made = victim(folder, PEOPLE, *(f"victim.{size}" for size in sizes))
    own = folder / str(seed)
    own.mkdir(parents=True)
    many = rows.repeat(4, 1)
    fit_in(own, made, many.__getitem__, size=len(many), seed=seed)
    return load_victim(made, own)


def attacks(folder: Path, *words: str) -> dict[str, Attack]:
    names = "attack=[denoising_loss,tartan_federer,pia,sima,secmi,pian]"
    low = "attack.denoising_loss.t=[20,60]", "attack.denoising_loss.draws=8"
    return build_all(composed(folder, names, *low, *words).attack, "attack")


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Victim, tuple[Shadow, ...]]:
    """A victim of people(0), and models of the attacker's own."""
    folder = tmp_path_factory.mktemp("tables")
    shadows = []
    for seed in (2, 3):
        known, others = people(seed, N), people(10 + seed, N)
        own = trained(folder, known, seed).view(AccessibleDenoiser, EMPTY, EMPTY, 64)
        shadows.append(Shadow(own, known.numpy(), others.numpy()))
    return trained(folder, people(0, N), 1), tuple(shadows)


def test_the_loss_is_that_of_noised_numbers_beside_clean_levels(tmp_path: Path) -> None:
    made = victim(tmp_path)
    made.quantiles.fit_quantiles(people(5, 300)[:, made.numbers].numpy())
    made.freeze_for_release()
    rows = people(0, 3)
    found = attacks(tmp_path, "attack.denoising_loss.draws=1", "seed=4")["denoising_loss"].score(
        made.view(AccessibleDenoiser, EMPTY, EMPTY, 2), rows
    )
    assert made.encode(rows).shape == (3, 5)
    for i, row in enumerate(rows):
        normal, levels = made.quantiles(row[None, made.numbers]), PEOPLE.one_hot(row[None])
        noise, losses = own_noise(normal, 4), []
        for t in (20, 60):
            left = np.cos((np.arange(1, 1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
            left = float(left[t] / np.cos(0.008 / 1.008 * np.pi / 2) ** 2)
            x = torch.cat([left**0.5 * normal + (1 - left) ** 0.5 * noise, levels], 1)
            told = made.average(x, torch.tensor([t]))[:, :5]
            losses.append(float((told - noise).square().sum()))
        np.testing.assert_allclose(-found[i], np.mean(losses), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["denoising_loss", "tartan_federer"])
def test_members_are_found_and_records_of_others_are_not(
    learnt: tuple[Victim, tuple[Shadow, ...]], tmp_path: Path, name: str
) -> None:
    model, shadows = learnt
    attack = attacks(tmp_path)[name]
    view = model.view(attack.access, EMPTY, EMPTY, 64, shadows=shadows)
    found = attack.score(view, torch.cat([people(0, N), people(1, 2 * N)]))
    assert metrics.auroc(found[:N], found[N:]) > 0.9
    low, high = metrics.auroc_interval(found[N : 2 * N], found[2 * N :], 0.99)
    assert low <= 0.5 <= high


def test_all_attacks_on_denoisers_take_tables(tmp_path: Path) -> None:
    model = victim(tmp_path).freeze_for_release()
    own = model.view(AccessibleDenoiser, EMPTY, EMPTY, 64)
    shadows = (Shadow(own, people(2, 9).numpy(), people(3, 9).numpy()),)
    for attack in attacks(tmp_path).values():
        view = model.view(attack.access, EMPTY, EMPTY, 64, shadows=shadows)
        rows = torch.cat([people(0, 5), people(1, 5)])
        found = attack.score(view, rows)
        np.testing.assert_allclose(attack.score(view, rows.flip(0)), found[::-1], rtol=1e-3)


def test_a_table_without_numbers_is_refused(tmp_path: Path) -> None:
    only = Schema([Column("smokes", "binary"), Column("city", "category", ("Bonn", "Oslo"))])
    made = victim(tmp_path, only).freeze_for_release()
    view = made.view(AccessibleDenoiserWithShadows, EMPTY, EMPTY, 8, shadows=())
    with pytest.raises(Unsuited, match="the table has none"):
        attacks(tmp_path)["pia"].score(view, torch.eye(3))


def test_a_job_on_a_table_has_them_all(tmp_path: Path) -> None:
    names = "denoising_loss", "pia", "tartan_federer", "ept", "ept_shadows"
    words = ("data=randhie_mixed", "victim=tab_ddpm", f"attack=[{','.join(names)}]")
    words = (*words, "quality=none", "blind=none", "calibration=none", "reference.members=12")
    rows = job.run(composed(tmp_path, *words, "distance=l2")).rows.set_index("attack")
    assert (rows["status"] == "ok").all()
    assert rows["access"]["tartan_federer"] == "accessible_denoiser_with_shadows"
    assert rows["access"]["ept_shadows"] == "full_black_box_with_shadows"
