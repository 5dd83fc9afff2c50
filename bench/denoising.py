"""Attacks on a denoiser: their time over that of its calls, calls saved, and memory.

    python bench/denoising.py [--queries 256] [--paper 256] [--attack pia]

All attacks that need nothing but a denoiser ask the laptop victim's (random weights: time does not
depend on them) about 256 queries one after the other, and share what they ask alike. Their time is
set against that of their calls alone (the rows that the network was really asked, times a full
batch's time a row), and their calls against each published procedure run by itself. Goals: at most
1.5 times, at least 3 times fewer. Then another process attacks as many queries on the paper-size
U-Net (35.7 million weights) with the default batch, and prints the most memory it needed. Goal:
under 8 GiB.

Speed leaves out what has another access: `rediffuse` asks for variations, `gsa`, `pia_gradient`
and `pia_gradient_shadows` take gradients of weights, `tartan_federer` learns on reference models.
Memory is that of PIA, which asks in batches as large as any. `--attack pia_gradient` takes the
gradients of one record at a time beside that: 1.69 GiB on 4 queries, where PIA takes 1.24.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from statistics import median
from typing import Any

import numpy as np
import torch
from defaults import compose_job
from goals import note
from omegaconf import DictConfig

from benchmark.config.build import build, build_all
from benchmark.models.memory import Fitting
from victims.access import AccessibleDenoiser, View

ATTACKS = ("denoising_loss", "secmi", "pia", "pian", "sima", "pfami")
PUBLISHED = 1 + 12 + 2 + 2 + 1 + 110
"""Questions a record of the published procedures, each by itself; PFAMI's as its code has it."""


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--paper", type=int, default=256, help="queries of the paper-size network")
    parser.add_argument("--attack", default="pia", help="on the paper-size network")
    options = parser.parse_args()
    if options.queries:
        speed(options.queries)
    if options.paper:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, peak, weights = pool.apply(memory, (options.paper, options.attack))
        print(
            f"paper size, {weights / 1e6:.1f} million weights: {options.attack} on {options.paper} "
            f"queries took {seconds:.0f} s and at most {peak:.2f} GiB"
        )
        work = "paper-size denoiser attacked" if options.attack == "pia" else options.attack
        note(f"{work}, GiB", "none", peak, "<= 8")


def speed(queries: int) -> None:
    """Time of all attacks over that of the network's calls."""
    config = composed("laptop", *ATTACKS)
    victim, view = granted(config, (1, 32, 32))
    x = images(queries, (1, 32, 32))
    batch = x[: view.batch_size]
    levels = torch.full((len(batch),), 100)
    victim.told(batch, levels)
    start = time.perf_counter()
    calls = [timed(lambda: victim.told(batch, levels)) for _ in range(3)]
    for name, attack in build_all(config.attack, "attack").items():
        asked, before = victim.denoise.asked, time.perf_counter()
        attack.score(view, x)
        spent = time.perf_counter() - before
        print(f"{name}: {(victim.denoise.asked - asked) / queries:g} questions, {spent:.1f} s")
        calls += [timed(lambda: victim.told(batch, levels))]
    row = median(calls) / len(batch)
    took = time.perf_counter() - start - sum(calls)
    alone = victim.denoise.asked * row
    print(
        f"all attacks on {queries} queries: {took:.1f} s, their calls alone {alone:.1f} s: "
        f"{took / alone:.2f} times; {victim.denoise.asked / queries:g} questions a record, as "
        f"published {PUBLISHED}: {PUBLISHED * queries / victim.denoise.asked:.2f} times fewer"
    )
    fewer = PUBLISHED * queries / victim.denoise.asked
    note("attacks on a denoiser, seconds", "its calls alone", took / alone, "<= 1.5")
    note("attacks on a denoiser, calls saved", "each by itself", fewer, ">= 3")


def memory(queries: int, name: str) -> tuple[float, float, int]:
    """Seconds and GiB of an attack on the paper-size network, and how many weights that has."""
    config = composed("paper", name)
    attack = build_all(config.attack, "attack")[name]
    victim, view = granted(config, (3, 32, 32), attack.access)
    x = images(queries, (3, 32, 32))
    seconds = timed(lambda: Fitting(view)(lambda view: attack.score(view, x)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return seconds, peak, sum(weight.numel() for weight in victim.average.parameters())


def composed(scale: str, *attacks: str) -> DictConfig:
    """The config of a diffusion victim with these attacks."""
    return compose_job("victim=ddpm", f"scale={scale}", f"attack=[{','.join(attacks)}]")


def granted(
    config: DictConfig, shape: tuple[int, ...], access: type[View] = AccessibleDenoiser
) -> tuple[Any, Any]:
    """A victim with random weights, and what an attacker may touch of it."""
    torch.manual_seed(0)
    victim = build(config.victim, "victim", shape=shape).freeze_for_release()
    none = np.zeros((1, 1), np.float32)
    view = victim.view(access, none, none, config.machine.batch_size)
    return victim, view


def images(n: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Random images (n, *shape)."""
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def timed(work: Any) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
