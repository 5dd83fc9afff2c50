"""Estimates of a probability density from points: kernels, and a normalising flow."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt
from scipy.stats import gaussian_kde
from torch import Tensor, nn
from tqdm import tqdm

from attacks.base import Learnt


class Density(Protocol):
    """A density over points in few dimensions, each of them about standard normal."""

    def learn(self, points: np.ndarray, title: str) -> Learnt:
        """What determines the density of these points (m, d); title: for a progress bar."""
        ...

    def log(self, learnt: Learnt, points: np.ndarray) -> np.ndarray:
        """Logarithm of the density at points (n, d): (n,)."""
        ...


class Kernels:
    """Gaussian kernels of the points' covariance, scaled by Scott's rule (scipy's gaussian_kde)."""

    def learn(self, points: np.ndarray, title: str) -> Learnt:
        """The points themselves."""
        return {"points": points}

    def log(self, learnt: Learnt, points: np.ndarray) -> np.ndarray:
        """Logarithm of the density at points (n, d): (n,)."""
        return gaussian_kde(learnt["points"].T).logpdf(points.T)


class Flow:
    """Neural spline flow (Durkan, Bekasov, Murray, Papamakarios 2019, arXiv 1906.04032) by zuko.

    Trained by Adam on four fifths of the points; the weights kept are those that give the rest the
    highest likelihood, looked at twenty times.
    transforms, width: of the flow.
    steps, batch_size, learning_rate: of its training.
    seed: of its weights and batches.
    """

    def __init__(
        self,
        transforms: PositiveInt,
        width: PositiveInt,
        steps: PositiveInt,
        batch_size: PositiveInt,
        learning_rate: PositiveFloat,
        seed: int,
    ) -> None:
        self.transforms, self.width = transforms, width
        self.steps, self.batch_size = steps, batch_size
        self.learning_rate, self.seed = learning_rate, seed

    def learn(self, points: np.ndarray, title: str) -> Learnt:
        """The flow's weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            flow = self._train_flow(torch.from_numpy(points).float(), title)
        return {name: value.numpy() for name, value in flow.state_dict().items()}

    def log(self, learnt: Learnt, points: np.ndarray) -> np.ndarray:
        """Logarithm of the density at points (n, d): (n,)."""
        flow = self._build_flow(points.shape[1])
        flow.load_state_dict({name: torch.from_numpy(value) for name, value in learnt.items()})
        with torch.no_grad():
            return flow().log_prob(torch.from_numpy(points).float()).double().numpy()

    def _build_flow(self, d: int) -> nn.Module:
        from zuko.flows import NSF  # slow to import, and seldom needed

        return NSF(d, transforms=self.transforms, hidden_features=[self.width] * 2)

    def _train_flow(self, points: Tensor, title: str) -> nn.Module:
        flow = self._build_flow(points.shape[1])
        points = points[torch.randperm(len(points))]
        held_out, known = points[: len(points) // 5], points[len(points) // 5 :]
        optimizer = torch.optim.Adam(flow.parameters(), self.learning_rate)
        best, kept = -np.inf, flow.state_dict()
        for step in tqdm(range(self.steps), desc=title, unit="step", leave=False, mininterval=1.0):
            batch = known[torch.randint(len(known), (self.batch_size,))]
            optimizer.zero_grad(set_to_none=True)
            (-flow().log_prob(batch).mean()).backward()
            nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
            optimizer.step()
            if (step + 1) % max(1, self.steps // 20) == 0:
                with torch.no_grad():
                    likelihood = float(flow().log_prob(held_out).mean())
                if likelihood > best:
                    best = likelihood
                    kept = {name: value.clone() for name, value in flow.state_dict().items()}
        flow.load_state_dict(kept)
        return flow
