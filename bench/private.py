"""What private training costs: seconds a step and memory, against the same victim without privacy.

    python bench/private.py [--steps 30] [--micro 1,4,8,16,32] [victim=dcgan scale=laptop ...]

Prints, for each number of records whose gradients are in memory at once, the ratio of the times of
a training step (generator's part included) and the most memory that a process needed for it. Steps
of both kinds are taken in turn, so that whatever else the machine does hits both.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from typing import Any

import numpy as np
import torch
from defaults import SHAPE, build_victim, compose_job
from goals import note
from omegaconf import DictConfig

from benchmark.config.build import build
from victims.base import Victim

RECORDS = 1024


def ready_victim(config: DictConfig, shape: tuple[int, ...], micro: int | None) -> Victim:
    """A victim ready to take steps by hand; private with a fixed noise where `micro` is given."""
    made: Victim = build_victim(config, shape)
    if micro is not None:
        made.make_private()
        terms = {"epsilon": None, "noise_multiplier": 1.0, "accountant": "rdp"}
        build(config.dp, "dp", **terms, micro_batch=micro).attach_mechanism(made, RECORDS)
    optimizers = made.configure_optimizers()
    made.optimizers = lambda: optimizers  # type: ignore
    made.manual_backward = lambda loss: loss.backward()  # type: ignore
    if isinstance(shown := getattr(made, "images_shown", None), torch.Tensor):
        shown.fill_(10**9)  # a grown network: the dearest steps
    return made.train()


def seconds(made: Victim, data: torch.Tensor, step: int) -> float:
    """One step on as many records as a batch has on average."""
    start = time.perf_counter()
    made.training_step(data[: made.batch_size], step)
    return time.perf_counter() - start


def measure(settings: list[str], steps: int, micro: int | None, pipe: Any) -> None:
    """Send (median seconds a step plain, private, peak MiB) from a process of its own."""
    config = compose_job("dp=on", *settings)
    shape = (3, 64, 64) if config.scale.name == "paper" else SHAPE
    made = [ready_victim(config, shape, micro)]
    if steps > 1:
        made.append(ready_victim(config, shape, None))
    data = torch.rand(made[0].batch_size, *shape) * 2 - 1
    times = [[seconds(one, data, i) for one in made] for i in range(steps + 1)][1:] or [[0.0]]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send((np.median(np.array(times), axis=0), peak))


def main() -> None:
    """Measure each micro-batch in a new process, so that its memory is its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--micro", default="1,4,8,16,64")
    parser.add_argument("settings", nargs="*", default=[])
    given = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    for micro in map(int, given.micro.split(",")):
        receive, send = spawn.Pipe(duplex=False)
        process = spawn.Process(target=measure, args=(given.settings, given.steps, micro, send))
        process.start()
        times, peak = receive.recv()
        process.join()
        ratio = f"{times[0] / times[1]:.2f} x {times[1]:.3f} s" if len(times) > 1 else "not timed"
        print(f"micro_batch {micro:3}: {ratio}, peak {peak:.0f} MiB", flush=True)
        if len(times) > 1:
            note(f"private step, {micro} records at once", "plain step", times[1] / times[0], "")


if __name__ == "__main__":
    main()
