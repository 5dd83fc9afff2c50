"""Attacks on the denoiser of a table's diffusion model: what is asked, and what is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PEOPLE, composed, fit_in, people
from scipy.stats import norm

from attacks.base import Attack
from attacks.noise import own_noise
from benchmark.config.build import build, build_all
from benchmark.job import run as job
from benchmark.measures import metrics
from victims.access import AccessibleDenoiser, AccessibleDenoiserWithShadows, Shadow, of_victim
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
    names = "attack=[denoising_loss,tartan_federer,gsa,pia,sima,secmi,pian]"
    low = "attack.denoising_loss.t=[20,60]", "attack.denoising_loss.draws=8"
    return build_all(composed(folder, names, *low, *words).attack, "attack")


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Victim]:
    """Models of people(0), people(2) and people(3), by these numbers."""
    folder = tmp_path_factory.mktemp("tables")
    return {seed: trained(folder, people(seed, N), seed) for seed in (0, 2, 3)}


def seen_by(attack: Attack, models: dict[int, Victim], batch_size: int = 64) -> Any:
    """What the attack sees of model 0; all others are the attacker's own."""
    victim, *others = models
    shadows = []
    for seed in others:
        view = models[seed].view(of_victim(attack.access), EMPTY, EMPTY, batch_size)
        shadows.append(Shadow(view, people(seed, N).numpy(), people(10 + seed, N).numpy()))
    return models[victim].view(attack.access, EMPTY, EMPTY, batch_size, shadows=tuple(shadows))


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
        noise, losses = own_noise(row[None], 4, shape=normal.shape[1:]), []
        for t in (20, 60):
            left = np.cos((np.arange(1, 1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
            left = float(left[t] / np.cos(0.008 / 1.008 * np.pi / 2) ** 2)
            x = torch.cat([left**0.5 * normal + (1 - left) ** 0.5 * noise, levels], 1)
            told = made.average(x, torch.tensor([t]))[:, :5]
            losses.append(float((told - noise).square().sum()))
        np.testing.assert_allclose(-found[i], np.mean(losses), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.xdist_group("models of people")  # one process trains them, for all three
@pytest.mark.parametrize(
    ("name", "least"), [("denoising_loss", 0.9), ("tartan_federer", 0.9), ("gsa", 0.8)]
)
def test_members_are_found_and_records_of_others_are_not(
    learnt: dict[int, Victim], tmp_path: Path, name: str, least: float
) -> None:
    attack = attacks(tmp_path)[name]
    found = attack.score(seen_by(attack, learnt), torch.cat([people(0, N), people(1, 2 * N)]))
    assert metrics.auroc(found[:N], found[N:]) > least
    low, high = metrics.auroc_interval(found[N : 2 * N], found[2 * N :], 0.99)
    assert low <= 0.5 <= high


def test_all_attacks_on_its_network_take_tables(tmp_path: Path) -> None:
    model = victim(tmp_path).freeze_for_release()
    for attack in attacks(tmp_path).values():
        view, rows = seen_by(attack, {0: model, 2: model}), people(0, 10)
        found = attack.score(view, rows)
        np.testing.assert_allclose(attack.score(view, rows.flip(0)), found[::-1], rtol=1e-3)


def test_a_question_of_two_attacks_is_asked_once(tmp_path: Path) -> None:
    """Both PIA and PIAN ask what is told in the clean record, then at a place of their own."""
    model, calls = victim(tmp_path).freeze_for_release(), []
    model.average.register_forward_hook(lambda _, given, told: calls.append(len(told)))
    made, rows = attacks(tmp_path), people(0, 10)
    for name, asked in (("pia", 20), ("pian", 30), ("pia", 30)):
        made[name].score(seen_by(made[name], {0: model}, batch_size=4), rows)
        assert sum(calls) == model.denoise.asked == asked
    model.freeze_for_release()
    made["pia"].score(seen_by(made["pia"], {0: model}), rows)
    assert sum(calls) == 50


def test_norms_of_gradients_are_those_of_a_loop_over_records(tmp_path: Path) -> None:
    """Each record's training loss, written out: squared errors, and divergences of levels."""
    made = victim(tmp_path)
    made.quantiles.fit_quantiles(people(5, 300)[:, made.numbers].numpy())
    made.freeze_for_release()
    rows, times = people(0, 3), [9, 99, 599]
    noise = own_noise(rows, 1, shape=(3, *made.noise_shape))
    # Of a level: five numbers; whether one is missing, who smokes, the city.
    assert noise.shape == (3, 3, 8)
    found = made.gradient_norms(rows, times, noise)
    weights = [weight.requires_grad_() for weight in made.average.parameters()]
    for row, own, norms in zip(rows, noise, found, strict=True):
        losses = torch.stack(
            [loss_by_hand(made, row, drawn, t) for drawn, t in zip(own, times, strict=True)]
        )
        slopes = torch.autograd.grad(losses.mean(), weights)
        torch.testing.assert_close(
            norms, torch.stack([s.norm() for s in slopes]), rtol=1e-3, atol=1e-4
        )


def loss_by_hand(made: Any, row: torch.Tensor, noise: torch.Tensor, t: int) -> torch.Tensor:
    """The loss of one record at level t, column by column."""
    left = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    before, now = left[t] / left[0], left[t + 1] / left[0]
    normal = made.quantiles(row[None, made.numbers])[0]
    seen, columns, clean = (
        [now**0.5 * normal + (1 - now) ** 0.5 * noise[:5]],
        [],
        PEOPLE.one_hot(row[None])[0],
    )
    for part, drawn in zip(clean.split(PEOPLE.levels), norm.cdf(noise[5:]), strict=True):
        k = len(part)
        chances = (now * part + (1 - now) / k).double().numpy()
        level = int(np.searchsorted(chances.cumsum(), drawn, side="right"))
        seen.append(torch.eye(k)[level])
        columns.append((part, level))
    told = made.average(torch.cat(seen)[None], torch.tensor([t]))[0]
    loss, logits = (told[:5] - noise[:5]).square().mean(), told[5:].split(PEOPLE.levels)
    for (part, level), logit in zip(columns, logits, strict=True):
        back = [bayes(clean, level, now / before, before) for clean in (part, logit.softmax(0))]
        loss = loss + 1000 / len(columns) * (back[0] * (back[0] / back[1]).log()).sum()
    return loss


def bayes(clean: torch.Tensor, level: int, kept: float, before: float) -> torch.Tensor:
    """Chances of a column's earlier level, from the clean one's and the level that is seen now."""
    k = len(clean)
    likely = torch.tensor([kept * (j == level) + (1 - kept) / k for j in range(k)])
    found = likely * (before * clean + (1 - before) / k)
    return found / found.sum()


def test_a_table_without_numbers_is_refused(tmp_path: Path) -> None:
    only = Schema([Column("smokes", "binary"), Column("city", "category", ("Bonn", "Oslo"))])
    made = victim(tmp_path, only).freeze_for_release()
    view = made.view(AccessibleDenoiserWithShadows, EMPTY, EMPTY, 8, shadows=())
    with pytest.raises(Unsuited, match="the table has none"):
        attacks(tmp_path)["pia"].score(view, torch.eye(3))


def test_a_job_on_a_table_has_them_all(tmp_path: Path) -> None:
    names = "denoising_loss", "pia", "tartan_federer", "gsa", "ept", "ept_shadows"
    words = ("data=randhie_mixed", "victim=tab_ddpm", f"attack=[{','.join(names)}]")
    words = (*words, "quality=none", "blind=none", "calibration=none", "reference.members=12")
    rows = job.run(composed(tmp_path, *words, "distance=l2")).rows.set_index("attack")
    assert (rows["status"] == "ok").all()
    assert rows["access"]["tartan_federer"] == "accessible_denoiser_with_shadows"
    assert rows["access"]["ept_shadows"] == "full_black_box_with_shadows"
