"""Attacks on a denoiser: their time over that of its calls, calls saved, and memory.

    python bench/denoising.py [--queries 256] [--paper 256]

All attacks on the laptop victim's denoiser (random weights: time does not depend on them) ask 256
queries one after the other, and share what they ask alike. Their time is set against that of their
calls alone (the rows that the network was really asked, times a full batch's time a row), and
their calls against each published procedure run by itself. Goals: at most 1.5 times, at least 3
times fewer. Then another process attacks as many queries on the paper-size U-Net (35.7 million
weights) with the default batch, and prints the most memory it needed. Goal: under 8 GiB.
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
from victims.access import AccessibleDenoiser

ATTACKS = ("denoising_loss", "secmi", "pia", "pian", "sima", "pfami")
PUBLISHED = 1 + 12 + 2 + 2 + 1 + 110
"""Questions a record of the published procedures, each by itself; PFAMI's as its code has it."""


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--paper", type=int, default=256, help="queries of the paper-size network")
    options = parser.parse_args()
    speed(options.queries)
    if options.paper:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, peak, weights = pool.apply(memory, (options.paper,))
        print(
            f"paper size, {weights / 1e6:.1f} million weights: PIA on {options.paper} queries took "
            f"{seconds:.0f} s and at most {peak:.2f} GiB"
        )
        note("paper-size denoiser attacked, GiB", "none", peak, "<= 8")


def speed(queries: int) -> None:
    """Time of all attacks over that of the network's calls."""
    config = composed("laptop")
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


def memory(queries: int) -> tuple[float, float, int]:
    """Seconds and GiB of one attack on the paper-size network, and how many weights that has."""
    victim, view = granted(composed("paper"), (3, 32, 32))
    attack = build_all(composed("paper").attack, "attack")["pia"]
    x = images(queries, (3, 32, 32))
    seconds = timed(lambda: Fitting(view)(lambda view: attack.score(view, x)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return seconds, peak, sum(weight.numel() for weight in victim.average.parameters())


def composed(scale: str) -> DictConfig:
    """The config of a diffusion victim with all attacks on its denoiser."""
    return compose_job("victim=ddpm", f"scale={scale}", f"attack=[{','.join(ATTACKS)}]")


def granted(config: DictConfig, shape: tuple[int, ...]) -> tuple[Any, AccessibleDenoiser]:
    """A victim with random weights, and what an attacker may touch of it."""
    torch.manual_seed(0)
    victim = build(config.victim, "victim", shape=shape).freeze_for_release()
    none = np.zeros((1, 1), np.float32)
    view = victim.view(AccessibleDenoiser, none, none, config.machine.batch_size)
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
