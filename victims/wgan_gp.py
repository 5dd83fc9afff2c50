"""WGAN-GP: a Wasserstein GAN whose critic is held to slope one by a gradient penalty."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from victims.base import Adversarial, Momentum
from victims.errors import UserError
from victims.networks import Norm, stages_of
from victims.training.losses import gradient_penalty, mixing_draws


class WGANGP(Adversarial):
    """Wasserstein GAN with gradient penalty, for images or tables as its networks are.

    Every training batch is one critic step; after every n_critic-th of them the generator takes a
    step too. So `steps` counts critic steps, and the generator takes steps / n_critic.

    generator: called with (shape, z_dim), gives a module (n, z_dim) -> (n, *shape).
    critic: called with (shape), gives a module (n, *shape) -> (n,), without batch normalisation.
    n_critic: critic steps to one of the generator.
    penalty: weight of the gradient penalty.
    learning_rate: Adam's.
    beta1, beta2: Adam's, in [0, 1).
    Raises UserError where the networks do not fit records of this shape.

    Source: Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville 2017, arXiv 1704.00028: penalty 10,
    n_critic 5, Adam 1e-4 with betas (0, 0.9), no batch normalisation in the critic.
    Deviations: the learning rate is constant, as for the source's 64x64 images. The critic comes
    first, so that the generator's first step already follows n_critic of the critic's.
    """

    family = "WGAN"

    reached: ClassVar[tuple[str, ...]] = ("discriminator",)
    critic_steps: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        generator: Callable[..., nn.Module],
        critic: Callable[..., nn.Module],
        z_dim: PositiveInt,
        steps: PositiveInt,
        batch_size: PositiveInt,
        n_critic: PositiveInt,
        penalty: float,
        learning_rate: PositiveFloat,
        beta1: Momentum,
        beta2: float,
    ) -> None:
        super().__init__(shape, z_dim, steps, batch_size)
        self.generator = generator(shape=shape, z_dim=z_dim)
        self.discriminator = critic(shape=shape)
        self.n_critic, self.penalty = n_critic, penalty
        self.learning_rate, self.betas = learning_rate, (beta1, beta2)
        # A buffer, so that a resumed run gives the generator its turn at the same steps.
        self.register_buffer("critic_steps", torch.zeros((), dtype=torch.int64))

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim) to records (n, *shape)."""
        return self.generator(z)

    def configure_optimizers(self) -> list[Optimizer]:
        """One Adam for each network: critic, generator."""
        return [
            Adam(network.parameters(), self.learning_rate, betas=self.betas)
            for network in (self.discriminator, self.generator)
        ]

    def training_step(self, real: Tensor, _: int) -> None:
        """One critic step on a batch (n, *shape), and a generator step when it is its turn."""
        optimize_critic, optimize_g = self.optimizers()  # type: ignore[attr-defined]
        with torch.no_grad():
            fake = self.partners(self.generator(self.prior(self.batch_size)), real)
        self.critic_step(optimize_critic, real, fake)

        self.critic_steps += 1
        if self.critic_steps % self.n_critic == 0:
            self.generator_step(optimize_g)

    @property
    def critic(self) -> nn.Module:
        """The critic that takes the steps."""
        return self.discriminator

    def generator_step(self, optimizer: Optimizer | Any) -> None:
        """One step of the generator."""
        self.discriminator.requires_grad_(False)  # saves half of this backward pass
        fake = self.generator(self.prior(self.batch_size))
        self.descend(optimizer, -self.discriminator(fake).mean(), "generator")
        self.discriminator.requires_grad_(True)

    def critic_step(self, optimizer: Optimizer | Any, real: Tensor, fake: Tensor) -> None:
        """One step of the critic on real and generated records (n, *shape)."""
        self.learn(optimizer, self.critic_losses, (real, fake, mixing_draws(real)), "critic")

    def critic_losses(self, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
        """The critic's loss (n,) for each real record and its generated one, penalty included."""
        distance = self.critic(real) - self.critic(fake)
        penalty = gradient_penalty(self.critic, real, fake, share)
        return self.penalty * penalty - distance


class Residual(nn.Module):
    """x -> main(x) + shortcut(x)."""

    def __init__(self, main: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Sum of both branches."""
        return self.main(x) + self.shortcut(x)


def residual_block(before: int, after: int, norm: Norm, up: bool) -> Residual:
    """A pre-activation residual block of two 3x3 convolutions; doubles or halves the side."""
    inner = after if up else before
    resize: nn.Module = nn.Upsample(scale_factor=2) if up else nn.AvgPool2d(2)
    first = [
        norm(before),
        nn.ReLU(),
        *([resize] if up else []),
        _conv_layer(before, inner, bias=False),
    ]
    second = [norm(inner), nn.ReLU(), _conv_layer(inner, after), *([] if up else [resize])]
    narrow = nn.Conv2d(before, after, 1)
    # A 1x1 convolution commutes with the resizing: it runs on the smaller of the two maps.
    return Residual(
        nn.Sequential(*first, *second),
        nn.Sequential(narrow, resize) if up else nn.Sequential(resize, narrow),
    )


class ResidualGenerator(nn.Module):
    """Residual generator: (n, z_dim) -> (n, c, h, w) in [-1, 1].

    From a 4x4 map, each block doubles the side; all but the first halve the channels. At 64x64 and
    width 64 it is the 64x64 network of Gulrajani et al. 2017.

    shape: (c, h, w) of an image.
    z_dim: dimension of the latent code.
    width: channels next to the image.
    norm: normalisation before every activation.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        z_dim: PositiveInt,
        width: PositiveInt,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        channels = _channels_to_map(shape, width)[::-1]
        self.layers = nn.Sequential(
            nn.Linear(z_dim, 16 * channels[0]),
            nn.Unflatten(1, (channels[0], 4, 4)),
            *(residual_block(before, after, norm, up=True) for before, after in pairwise(channels)),
            norm(width),
            nn.ReLU(),
            _conv_layer(width, shape[0]),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Latent codes to images."""
        return self.layers(z)


class ResidualCritic(nn.Module):
    """Residual critic: (n, c, h, w) -> (n,); the generator's mirror with layer normalisation.

    The gradient penalty holds per record, so the normalisation must not mix records.

    shape: (c, h, w) of an image.
    width: channels next to the image.
    """

    def __init__(self, shape: tuple[int, ...], width: PositiveInt) -> None:
        super().__init__()
        channels = _channels_to_map(shape, width)
        layer_norm: Norm = lambda c: nn.GroupNorm(1, c)  # noqa: E731
        self.layers = nn.Sequential(
            _conv_layer(shape[0], width),
            *(
                residual_block(before, after, layer_norm, up=False)
                for before, after in pairwise(channels)
            ),
            nn.Flatten(),
            nn.Linear(16 * channels[-1], 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Images to outputs."""
        return self.layers(x).squeeze(1)


class MLPGenerator(nn.Module):
    """Generator of table records: (n, z_dim) -> (n, d), two hidden layers.

    shape: (d,) of a record.
    z_dim: dimension of the latent code.
    width: units of each hidden layer.
    output: the last activation: torch.nn.Softplus for counts (a ReLU can die, and its column then
    stays zero), torch.nn.Sigmoid for binary columns, torch.nn.Identity for others.
    Raises UserError for images.
    """

    def __init__(
        self, shape: tuple[int, ...], z_dim: PositiveInt, width: PositiveInt, output: nn.Module
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_mlp_layers(z_dim, width, _count_columns(shape), nn.ReLU), output
        )

    def forward(self, z: Tensor) -> Tensor:
        """Latent codes to records."""
        return self.layers(z)


class MLPCritic(nn.Module):
    """Critic of table records: (n, d) -> (n,). Raises UserError for images.

    shape: (d,) of a record.
    width: units of each hidden layer.
    """

    def __init__(self, shape: tuple[int, ...], width: PositiveInt) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_mlp_layers(_count_columns(shape), width, 1, lambda: nn.LeakyReLU(0.2))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Records to outputs."""
        return self.layers(x).squeeze(1)


def _mlp_layers(
    before: int, width: int, after: int, activation: Callable[[], nn.Module]
) -> list[nn.Module]:
    return [
        *(nn.Linear(before, width), activation()),
        *(nn.Linear(width, width), activation()),
        nn.Linear(width, after),
    ]


def _count_columns(shape: tuple[int, ...]) -> int:
    if len(shape) != 1:
        raise UserError(f"this victim makes table rows, but a record has shape {shape}")
    return shape[0]


def _channels_to_map(shape: tuple[int, ...], width: int) -> list[int]:
    """Channels from the image to the 4x4 map; the last step keeps the width."""
    doublings = stages_of(shape)
    return [width << min(i, doublings - 1) for i in range(doublings + 1)]


def _conv_layer(before: int, after: int, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution with He's initialisation."""
    conv = nn.Conv2d(before, after, 3, 1, 1, bias=bias)
    nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
    return conv
