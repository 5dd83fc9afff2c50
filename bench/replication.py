"""Why figures of `+sweep=replicate_hilprecht` differ from the published ones, tried on its models.

    python bench/replication.py [--samples 100000] [key=value ...]

Discriminator: the published white box attack divides pixels by 255 twice (`discriminate_for_wb`
in mc_attack_gan.py: once for all images, once more for each batch), training once. So images are
all but black. Here the same discriminator judges the queries as they are, and so.
Monte Carlo: the same VAE releases more samples.
Models come from the store, or are trained first; key=value are overrides of the sweep's jobs.
"""

from __future__ import annotations

import argparse

import numpy as np
from omegaconf import DictConfig, open_dict

from attacks.discriminator import DiscriminatorScore
from benchmark.config.commandline import register_resolvers
from benchmark.job.prepare import prepare
from benchmark.job.request import open_request
from benchmark.job.run import run
from benchmark.measures.numbers import format_percent
from benchmark.measures.top_half import Accuracy, share_in_top_half
from benchmark.models.recipe import obtain_model
from benchmark.sweep import compose
from victims.access import AccessibleDiscriminator

WHITE = 255
"""What the published attack divides pixels of [0, 1] by, once too often."""


def judge_darkened(config: DictConfig) -> dict[str, Accuracy]:
    """Members in the discriminator's top half, of the queries as they are and divided again."""
    request = open_request(config)
    request.machine.set_up()
    job = prepare(request)
    victim = obtain_model(job.trial.recipe, job.workshop(job.trial)).victim
    nothing = np.zeros(0, np.float32)
    view = victim.view(AccessibleDiscriminator, nothing, nothing, request.machine.batch_size)
    queries, member = job.trial.queries.records(slice(None)), job.trial.queries.is_member
    found = {}
    for name, images in {
        "as they are": queries,
        "divided twice": (queries + 1) / WHITE - 1,
    }.items():
        scores = DiscriminatorScore().score(view, images)
        found[name] = share_in_top_half(scores[member], scores[~member])
    return found


def judge_more_samples(config: DictConfig, samples: int) -> dict[str, Accuracy]:
    """Members in the top half of the Monte Carlo attacks with so many samples."""
    config = config.copy()
    with open_dict(config):
        config.bank.size = samples
        for name in [name for name in config.attack if not name.startswith("monte_carlo")]:
            del config.attack[name]
    found = {}
    for name, own in run(config).scores.groupby("attack"):
        member = own["member"].to_numpy(bool)
        scores = own["score"].to_numpy(float)
        found[str(name)] = share_in_top_half(scores[member], scores[~member])
    return found


def main() -> None:
    """Both trials on every model of the sweep that they suit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("overrides", nargs="*")
    asked = parser.parse_args()
    register_resolvers()
    for job in compose.list_jobs(["+sweep=replicate_hilprecht", *asked.overrides]):
        records = job.config.split.members
        at = f"{job.choices['victim']}, {job.choices['data']}, {records} records"
        if job.choices["victim"] == "dcgan":
            found = judge_darkened(job.config)
        else:
            found = judge_more_samples(job.config, asked.samples)
        for name, share in found.items():
            ends = f"[{format_percent(share.low)}, {format_percent(share.high)}]"
            print(f"{at}, {name}: {format_percent(share.value)} {ends}", flush=True)


if __name__ == "__main__":
    main()
