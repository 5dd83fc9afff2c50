"""How generators of tables see a record: numbers by the mode they lie in, all else one-hot.

Source: Xu, Skoularidou, Cuesta-Infante, Veeramachaneni 2019, arXiv 1907.00503, mode-specific
normalisation: a Bayesian mixture of Gaussians finds a number's modes, one of which is drawn by its
probability and stands one-hot beside the number's place within it, (v - mean) / (4 deviations).
"""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from victims.errors import UserError
from victims.schema import Schema, pick_places

FITTED = 10_000
"""Records that the modes are fitted to at most, drawn by the seed."""
LEAST_WEIGHT = 0.005
"""A mode of less weight is left out (the same number as in the authors' code)."""
REACH = 0.99
"""Largest place within a mode: the generators end in a tanh."""
NEVER = -1e9
"""The logit of a mode that is not there."""


def schema_of(shape: tuple[int, ...], schema: Schema | None, name: str) -> Schema:
    """What the columns are; numbers where that is not known. Raises UserError for images."""
    if len(shape) != 1:
        raise UserError(f"{name} makes tables, but a record has shape {tuple(shape)}")
    return Schema.of_numbers(shape[0]) if schema is None else schema


class Transform(nn.Module):
    """Records (n, d) to what networks see, (n, width), and the networks' outputs back.

    First come the places within modes, one a number; then groups of which one place holds 1: the
    modes of each number, the two states of each 0/1 place, the levels of each category.
    Before `fit_modes` a number has one mode, of [0, 1].
    """

    centre: Tensor
    spread: Tensor
    weight: Tensor
    index: Tensor

    def __init__(self, schema: Schema, modes: int) -> None:
        super().__init__()
        self.schema, self.modes = schema, modes
        self.numbers, self.switches = schema.numbers, schema.switches
        k = len(self.numbers)
        sizes = [modes] * k + schema.levels
        ends = k + np.cumsum([0, *sizes])
        self.width = int(ends[-1])
        self.groups = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        index = np.full((len(sizes), max(sizes)), -1)
        for row, span in zip(index, self.groups, strict=True):
            row[: span.stop - span.start] = range(span.start, span.stop)
        self.register_buffer("index", torch.from_numpy(index), persistent=False)
        weight = torch.zeros(k, modes)
        weight[:, :1] = 1
        self.register_buffer("centre", torch.full((k, modes), 0.5))
        self.register_buffer("spread", torch.full((k, modes), 0.25))
        self.register_buffer("weight", weight)

    @property
    def discrete(self) -> list[slice]:
        """The groups of 0/1 places and categories among the networks' places."""
        return self.groups[len(self.numbers) :]

    def fit_modes(self, rows: np.ndarray, seed: int) -> None:
        """Find the modes of each number in records (n, d)."""
        from sklearn.mixture import BayesianGaussianMixture

        drawn = np.random.default_rng(seed).permutation(len(rows))[:FITTED]
        for i, place in enumerate(self.numbers):
            values = rows[drawn, place].astype(np.float64)[:, None]
            many = min(self.modes, len(np.unique(values)))
            mixture = BayesianGaussianMixture(
                n_components=many,
                weight_concentration_prior_type="dirichlet_process",
                weight_concentration_prior=0.001,
                random_state=seed % 2**32,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it need not converge
                mixture.fit(values)
            kept = np.flatnonzero(mixture.weights_ > LEAST_WEIGHT)
            self.weight[i] = 0
            spread = np.sqrt(mixture.covariances_[kept, 0, 0])
            parts = mixture.weights_[kept], mixture.means_[kept, 0], spread
            for buffer, part in zip((self.weight, self.centre, self.spread), parts, strict=True):
                buffer[i, : len(kept)] = torch.from_numpy(part).float()

    def chances_of(self, values: Tensor) -> Tensor:
        """Probability of each mode (n, k, modes) for numbers (n, k)."""
        apart = (values[..., None] - self.centre) / self.spread
        logits = self.weight.clamp(min=1e-30).log() - 0.5 * apart.square() - self.spread.log()
        return logits.masked_fill(self.weight == 0, NEVER).softmax(-1)

    def forward(self, x: Tensor, chances: Tensor | None = None) -> Tensor:
        """Records (n, d) as networks see them; chances: (n, k) that draw the modes, or None."""
        values = x[:, self.numbers]
        of = self.chances_of(values).flatten(0, 1)
        mode = of.argmax(1) if chances is None else pick_places(of, chances.flatten())
        hot = nn.functional.one_hot(mode, self.modes).view(*values.shape, self.modes).to(x)
        within = ((values[..., None] - self.centre) / (4 * self.spread) * hot).sum(-1)
        return torch.cat([within.clamp(-REACH, REACH), hot.flatten(1), self.schema.one_hot(x)], 1)

    def codes_of(self, x: Tensor) -> Tensor:
        """Which state or level each discrete column holds: (n, groups) int64."""
        found = [(x[:, place] > 0.5).long() for place in self.switches]
        found += [x[:, span].argmax(1) for span in self.schema.categories]
        return torch.stack(found, 1) if found else x.new_zeros(len(x), 0, dtype=torch.int64)

    def logits_of(self, raw: Tensor) -> Tensor:
        """Outputs (n, width) by group: (n, groups, places), NEVER where there is no such place."""
        absent = self.index < 0
        if self.numbers:
            absent[: len(self.numbers), : self.modes] |= self.weight == 0
        return raw[:, self.index.clamp(min=0)].masked_fill(absent, NEVER)

    def spread_out(self, raw: Tensor, soft: Tensor) -> Tensor:
        """Places within modes of raw outputs (n, width) after tanh, beside the groups."""
        within = raw[:, : len(self.numbers)].tanh()
        return torch.cat([within, soft[:, self.index >= 0]], 1)

    def to_records(self, raw: Tensor, chances: Tensor | None = None) -> Tensor:
        """Raw outputs (n, width) as numbers and probabilities (n, d); chances: (n, k) for modes."""
        raw = raw.float()
        soft = self.logits_of(raw).softmax(-1)
        k = len(self.numbers)
        of = soft[:, :k, : self.modes].flatten(0, 1)
        mode = of.argmax(1) if chances is None else pick_places(of, chances.flatten())
        hot = nn.functional.one_hot(mode, self.modes).view(len(raw), k, self.modes).to(raw)
        within = raw[:, :k, None].tanh()
        found = raw.new_zeros(len(raw), self.schema.width)
        values = ((within * 4 * self.spread + self.centre) * hot).sum(-1)
        places = [*self.numbers, *self.switches]
        switched = soft[:, k : k + len(self.switches), 1:2].flatten(1)
        parts = [values, switched]
        for i, span in enumerate(self.schema.categories, k + len(self.switches)):
            places += range(span.start, span.stop)
            parts.append(soft[:, i, : span.stop - span.start])
        return found.index_copy(1, torch.tensor(places, device=raw.device), torch.cat(parts, 1))

    def mode_unit(self, values: Tensor) -> Tensor:
        """Four deviations of the likeliest mode at each of the numbers (n, k)."""
        mode = self.chances_of(values).argmax(-1, keepdim=True)
        spread = self.spread.expand(len(values), -1, -1)
        return 4 * spread.gather(-1, mode).squeeze(-1)
