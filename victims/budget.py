"""What private training promises and what it has spent."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from victims.accounting import affordable_steps, epsilon_of_steps, noise_for, quick_bound
from victims.base import Victim
from victims.errors import UserError
from victims.private import Mechanism

SPENT = "privacy.json"

Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A finite number above 0."""


@dataclass(frozen=True)
class Privacy:
    """What private training shall promise: that one record more or less hardly changes the victim.

    The promise (epsilon) or the noise is enough. Noise is then what the promise needs for all of
    the victim's steps, or the promise what the noise gives. With both, training stops before the
    promise is broken.

    epsilon: the promise, above 0; None follows from the noise.
    noise_multiplier: the noise, above 0, in units of max_grad_norm; None follows from epsilon.
    max_grad_norm: what each record's gradient is clipped to, in every private step.
    delta: of the promise, in (0, 1); None for a tenth of 1 / training records.
    accountant: prv (Gopi, Lee, Wutschitz 2021, arXiv 2106.02848; tight) or rdp (Mironov 2017, arXiv
    1702.07476; faster).
    micro_batch: records whose gradients are in memory at once.
    public_encoding: whether an encoding of columns that is measured on all records (data.encode)
    may be taken for public knowledge; else it is refused.
    Raises UserError where neither epsilon nor noise_multiplier is given.
    """

    epsilon: Amount | None
    noise_multiplier: Amount | None
    max_grad_norm: Amount
    delta: Annotated[float, Field(gt=0, lt=1)] | None
    accountant: Literal["prv", "rdp"]
    micro_batch: PositiveInt
    public_encoding: bool = False

    def __post_init__(self) -> None:
        if self.epsilon is None and self.noise_multiplier is None:
            raise UserError("dp.epsilon and dp.noise_multiplier are null: at least one is needed")

    def check_victim(self, victim: Victim, size: int) -> None:
        """Raise UserError where `victim` cannot be trained privately on `size` records; cheap."""
        if victim.terms_of_steps(size).rate > 1:
            raise UserError(
                f"victim.batch_size={victim.batch_size}: private training draws each of the {size} "
                "training records with chance batch_size / records; lower victim.batch_size"
            )
        if self.delta is not None and self.delta >= 1 / size:
            raise UserError(
                f"dp.delta={self.delta}: with {size} training records a promise is only worth "
                f"something below 1/{size}; lower dp.delta or leave it null"
            )

    def open_ledger(self, victim: Victim, size: int) -> Ledger:
        """What `victim`'s steps on `size` records cost; for a target epsilon the noise is found."""
        self.check_victim(victim, size)
        delta = default_delta(size) if self.delta is None else self.delta
        terms, noise = victim.terms_of_steps(size), self.noise_multiplier
        times = -(-victim.steps // terms.batches)
        if noise is None:
            assert self.epsilon is not None
            price = times, terms.rate, delta
            noise = terms.sensitivity * noise_for(
                self.epsilon,
                lambda noise: epsilon_of_steps(noise, *price, self.accountant),
                lambda noise: quick_bound(noise, *price, self.accountant),
            )
        return Ledger(
            noise,
            self.max_grad_norm,
            delta,
            terms.rate,
            terms.sensitivity,
            terms.together,
            self.accountant,
        )

    def attach_mechanism(self, victim: Victim, size: int) -> Ledger:
        """Give a victim (after `make_private`) its mechanism, and as many steps as it may take."""
        ledger, each = self.open_ledger(victim, size), victim.terms_of_steps(size).batches
        times = -(-victim.steps // each)
        if self.epsilon is not None and self.noise_multiplier is not None:
            times = affordable_steps(self.epsilon, ledger.epsilon_after, times)
            victim.steps = min(victim.steps, times * each)
            if victim.steps == 0:
                raise UserError(
                    f"dp.epsilon={self.epsilon}: with dp.noise_multiplier={self.noise_multiplier} "
                    f"one step already costs {ledger.epsilon_after(1):.3g}; raise one of the two"
                )
        victim.mechanism = Mechanism(
            ledger.noise_multiplier,
            self.max_grad_norm,
            ledger.sample_rate,
            victim.batch_size,
            self.micro_batch,
            limit=times * ledger.together,
        )
        return ledger


@dataclass(frozen=True)
class Ledger:
    """What determines the price of private steps, see `victims.private.Terms`."""

    noise_multiplier: float
    max_grad_norm: float
    delta: float
    sample_rate: float
    sensitivity: float
    together: int
    accountant: str

    def epsilon_after(self, times: int) -> float:
        """Epsilon, at `delta`, of this many exposures; each is one batch for most victims."""
        noise = self.noise_multiplier / self.sensitivity
        return epsilon_of_steps(noise, times, self.sample_rate, self.delta, self.accountant)

    def write_spent(self, victim: Victim, folder: Path) -> None:
        """Note beside the weights what the steps that the victim has taken have spent."""
        steps = int(victim.private_steps)
        times = -(-steps // self.together)
        facts = asdict(self) | {"private_steps": steps, "epsilon": self.epsilon_after(times)}
        (folder / SPENT).write_text(json.dumps(facts, indent=1), encoding="utf-8")


def default_delta(size: int) -> float:
    """A tenth of 1 / training records: far too little to give any record away for certain."""
    return 0.1 / size
