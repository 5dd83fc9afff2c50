"""What this project's own code costs where a package or a plain loop does the same.

    python bench/steps.py [--steps 60] [--repeats 3]

- A DCGAN's training as a job runs it (Lightning, checks, bar), against a plain loop of the same
  networks and optimisers.
- One private step of its discriminator, against Opacus' hooks (`GradSampleModule`). Each holds as
  many records' gradients at once as is its way: ours `dp.micro_batch`, the hooks a whole batch.
- LPIPS on the same images, queries seen before, against the package `lpips`.

Both sides take turns, so that whatever else the machine does hits both.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from defaults import SHAPE, build_victim, compose_job
from goals import note
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from private import ready_victim
from torch import Tensor

from attacks.distances import LPIPS
from victims.dcgan import DCGAN
from victims.training.losses import passing_losses, telling_apart
from victims.training.train import Training, fit_victim

RECORDS = 128
BATCH = 64
"""Records of a private step."""


def main() -> None:
    """A line for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    wanted = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    records = torch.rand(RECORDS, *SHAPE) * 2 - 1
    pairs = [
        ("DCGAN training, speed", "plain loop", plain_training, own_training, ">= 0.95"),
        ("private step, speed", "Opacus' hooks", hooked_steps, private_steps, ">= 0.95"),
        ("LPIPS, speed", "package lpips", package_distance, own_distance, ">= 0.95"),
    ]
    for work, peer, theirs, ours, goal in pairs:
        ratios = []
        for _ in range(wanted.repeats):
            reference = theirs(records, wanted.steps)
            ratios.append(reference / ours(records, wanted.steps))
        note(work, peer, ratios, goal)


def build_default() -> DCGAN:
    """The default victim, untrained."""
    made: DCGAN = build_victim(compose_job("machine.progress=false"))
    return made


def median_seconds(step: Callable[[], Any], steps: int) -> float:
    """Median seconds of a step; the first two are left out."""
    times = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return median(times[2:])


# --- training -------------------------------------------------------------------------------------


def plain_training(records: Tensor, steps: int) -> float:
    """Seconds a step of a loop that does nothing else."""
    made = build_default().train()
    on_d, on_g = made.configure_optimizers()

    def step() -> None:
        real = records[torch.randperm(RECORDS)[: made.batch_size]]
        fake = made.generator(torch.randn(made.batch_size, made.z_dim))
        loss = telling_apart(made.discriminator(real), made.discriminator(fake.detach())).mean()
        on_d.zero_grad(set_to_none=True)
        loss.backward()
        on_d.step()
        made.discriminator.requires_grad_(False)
        loss = passing_losses(made.discriminator(fake)).mean()
        on_g.zero_grad(set_to_none=True)
        loss.backward()
        on_g.step()
        made.discriminator.requires_grad_(True)

    return median_seconds(step, steps)


def own_training(records: Tensor, steps: int) -> float:
    """Seconds a step of a victim's training, from batch to batch."""
    made, times = build_default(), []
    made.steps = steps + 3

    def read(rows: Any) -> Tensor:
        times.append(time.perf_counter())
        return records[rows]

    with TemporaryDirectory() as name:
        folder = Path(name)
        training = Training(checkpoint_every_s=1e9)
        fit_victim(
            made,
            read,
            size=RECORDS,
            folder=folder,
            work=folder / "work",
            seed=0,
            training=training,
        )
    return median(later - earlier for earlier, later in pairwise(times[2:]))


# --- private steps --------------------------------------------------------------------------------


def private_steps(records: Tensor, steps: int) -> float:
    """Seconds of one private step of the discriminator."""
    config = compose_job("dp=on")
    made = ready_victim(config, SHAPE, config.dp.micro_batch)
    assert isinstance(made, DCGAN)
    on_d, _ = made.optimizers()  # type: ignore
    real, fake = records[:BATCH], torch.rand(BATCH, *SHAPE)
    return median_seconds(
        lambda: made.learn(on_d, made.discriminator_losses, (real, fake), "discriminator"), steps
    )


def hooked_steps(records: Tensor, steps: int) -> float:
    """Seconds of the same step by Opacus' own per-record gradients."""
    made = build_default()
    made.make_private()
    for module in made.discriminator.modules():
        if isinstance(module, torch.nn.LeakyReLU):
            module.inplace = False  # the hooks forbid it
    network = GradSampleModule(made.discriminator, loss_reduction="sum")
    adam = torch.optim.Adam(network.parameters(), 2e-4, betas=(0.5, 0.999))
    private = DPOptimizer(adam, noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=BATCH)
    real, fake = records[:BATCH], torch.rand(BATCH, *SHAPE)

    def step() -> None:
        private.zero_grad(set_to_none=True)
        telling_apart(network(real), network(fake)).sum().backward()
        private.step()

    return median_seconds(step, steps)


# --- LPIPS ----------------------------------------------------------------------------------------


def own_distance(records: Tensor, steps: int) -> float:
    """Seconds to compare a batch of reconstructions with queries whose features are known."""
    distance = LPIPS("alex")
    distance.load()
    with torch.no_grad():
        targets = distance.targets(records)
        return median_seconds(lambda: distance(targets, -records), steps)


def package_distance(records: Tensor, steps: int) -> float:
    """Seconds of the package, which looks at both sides each time; random weights cost as much."""
    import lpips

    package = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False).eval()
    colour = records.expand(-1, 3, -1, -1)
    with torch.no_grad():
        return median_seconds(lambda: package(colour, -colour), steps)


if __name__ == "__main__":
    main()
