"""Tables and models for tests of audits; the models fit TorchScript, torch.export and ONNX."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn


def table(seed: int, n: int) -> pd.DataFrame:
    """Records of a known distribution: numeric, binary and categorical columns."""
    rng = np.random.default_rng(seed)
    age = rng.normal(50, 15, n)
    return pd.DataFrame(
        {
            "age": age,
            "income": np.exp(rng.normal(8 + age / 100, 1, n)),
            "smokes": rng.random(n) < 0.3,
            "town": rng.choice(["north", "south", "west"], n, p=[0.5, 0.3, 0.2]),
        }
    )


class Decoder(nn.Module):
    """A generator that knows its training images by heart: near anchor i it makes image i."""

    def __init__(self, members: Tensor, z_dim: int = 12) -> None:
        super().__init__()
        self.z_dim, self.shape = z_dim, tuple(members.shape[1:])
        anchors = np.random.default_rng(0).standard_normal((len(members), z_dim))
        self.register_buffer("anchors", torch.from_numpy(anchors).float())
        self.register_buffer("members", members.flatten(1))

    def forward(self, z: Tensor) -> Tensor:
        near = torch.softmax(3 * (z @ self.anchors.T - self.anchors.square().sum(1) / 2), 1)
        return (near @ self.members).unflatten(1, self.shape)


class Closeness(nn.Module):
    def __init__(self, members: Tensor) -> None:
        super().__init__()
        self.register_buffer("members", members.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cdist(x.flatten(1), self.members).amin(1, keepdim=True).neg()


def closeness(members: Tensor) -> nn.Module:
    """A discriminator that finds real what is close to a member."""
    return Closeness(members)
