"""DDPM: a denoising diffusion model for images, on the U-Net and schedules of `diffusers`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DModel
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle
from torch.nn.utils import clip_grad_norm_
from torch.optim import Adam, Optimizer
from torch.utils.checkpoint import checkpoint

from victims.denoising import Denoising
from victims.errors import UserError
from victims.networks import stages_of
from victims.private import Losses
from victims.training.ema import follow_model, make_average
from victims.variation import vary_records

Share = Annotated[float, Field(ge=0, lt=1)]

LONGEST = 1.0
"""Norm that a batch's gradient is clipped to."""

SCHEDULES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
"""Ours -> diffusers' name; their constants are those of the papers."""


class DDPM(Denoising):
    """Denoising diffusion: the network learns to tell the noise in a noised record.

    A sample begins as noise, and the network takes some of it away at each of several steps. The
    steps draw nothing, so that a sample follows from its latent code, the noise at the beginning.

    timesteps: T, how many noise levels.
    schedule: how noise grows with the level, `linear` or `cosine`.
    sampling_steps: of DDIM, evenly spaced, the first at T - 1.
    patch: side of the patches, in pixels, that the network sees as the channels of one pixel.
    channels: of the U-Net's levels, each of half the side of the one before.
    layers: residual blocks a level.
    attention: levels with self-attention, 0 is the first; without any the middle has none either.
    groups: of channels that are normalised together, in each layer.
    dropout: in residual blocks, in [0, 1); private training has none.
    flip: whether half of the training images are mirrored.
    decay: of the released moving average of the weights, at each step, in [0, 1).
    multiplicity: noise levels of a record, over which private training averages its loss.
    learning_rate: Adam's, reached after the warmup.
    warmup: steps in which the learning rate rises from 0.
    Raises UserError for images that do not suit the network, or settings that do not suit another.

    Source: Ho, Jain, Abbeel 2020, arXiv 2006.11239: squared error of the predicted noise, gradients
    clipped to norm 1. Cosine schedule: Nichol, Dhariwal 2021, arXiv 2102.09672. Deterministic DDIM:
    Song, Meng, Ermon 2021, arXiv 2010.02502, the predicted image clipped to [-1, 1]. Private
    training: Dockhorn, Cao, Vahdat, Kreis 2022, arXiv 2210.09929.
    Deviations: the loss is a mean over pixels. Patches spare a small network's full resolution,
    where most of its time goes.
    """

    grants = (*Denoising.grants, "vary", "timesteps")

    family = "diffusion"

    reached = ("network",)

    taken: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        timesteps: PositiveInt,
        schedule: Literal["linear", "cosine"],
        sampling_steps: PositiveInt,
        patch: PositiveInt,
        channels: Sequence[int],
        layers: PositiveInt,
        attention: Sequence[int],
        groups: PositiveInt,
        dropout: Share,
        flip: bool,
        decay: Share,
        multiplicity: PositiveInt,
        steps: PositiveInt,
        batch_size: PositiveInt,
        learning_rate: PositiveFloat,
        warmup: NonNegativeInt,
    ) -> None:
        stages_of(shape)  # refuses tables
        super().__init__(shape, math.prod(shape), steps, batch_size)
        if sampling_steps > timesteps:
            raise UserError(
                f"victim.sampling_steps={sampling_steps}: at most victim.timesteps={timesteps}"
            )
        self.network: nn.Module = Denoiser(
            shape, patch, tuple(channels), layers, tuple(attention), groups, dropout
        )
        self.average = make_average(self.network)
        self.sampler: Any = DDIMScheduler(
            num_train_timesteps=timesteps,
            beta_schedule=SCHEDULES[schedule],
            timestep_spacing="trailing",
        )
        self.sampler.set_timesteps(sampling_steps)
        self.flip, self.decay, self.multiplicity = flip, decay, multiplicity
        self.learning_rate, self.warmup = learning_rate, warmup
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    # --- training -----------------------------------------------------------------------------

    def configure_optimizers(self) -> Optimizer:
        """Adam, with the gradient clipped where privacy has not clipped it already."""
        optimizer = Adam(self.network.parameters(), self.learning_rate)
        optimizer.register_step_pre_hook(lambda *_: self._clip_gradients())
        return optimizer

    def _clip_gradients(self) -> None:
        if self.mechanism is None:
            clip_grad_norm_(self.network.parameters(), LONGEST)

    def make_private(self) -> None:
        """No dropout: what it draws would depend on how many records there are."""
        super().make_private()
        for module in self.network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def training_step(self, real: Tensor, _: int) -> None:
        """One step on a batch of images (n, c, h, w), each noised to a level drawn for it."""
        levels = len(real), 1 if self.mechanism is None else self.multiplicity
        t = torch.randint(self.timesteps, levels)
        noise = torch.randn(*levels, *self.shape)
        mirrored = self.flip * torch.rand(len(real))
        optimizer: Any = self.optimizers()
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate * min(1.0, (int(self.taken) + 1) / (self.warmup + 1))
        batch = real, *(drawn.to(real.device) for drawn in (t, noise, mirrored))
        self.learn(optimizer, self.mirrored_losses, batch, "denoising")
        follow_model(self.average, self.network, self.decay)
        self.taken += 1

    def mirrored_losses(self, real: Tensor, t: Tensor, noise: Tensor, mirrored: Tensor) -> Tensor:
        """Losses (n,) of images (n, *shape), as training has them: mirrored above 0.5 (n,)."""
        copies = torch.where(mirrored[:, None, None, None] > 0.5, real.flip(-1), real)
        return self.denoising_losses(self.network, copies, t, noise)

    def denoising_losses(
        self, network: nn.Module, real: Tensor, t: Tensor, noise: Tensor
    ) -> Tensor:
        """Mean squared errors (n,) of the noise that is told, over m noise levels of each record.

        real: (n, *shape). t: (n, m), levels. noise: (n, m, *shape), standard normal.
        """
        flat, at = noise.flatten(0, 1), t.flatten().long()
        signal = self.sampler.alphas_cumprod.to(real)[at][:, None, None, None]
        clean = real[:, None].expand(noise.shape).flatten(0, 1)
        told = network(signal.sqrt() * clean + (1 - signal).sqrt() * flat, at)
        return (told - flat).square().flatten(1).mean(1).view(t.shape).mean(1)

    # --- release ------------------------------------------------------------------------------

    @property
    def signal(self) -> np.ndarray:
        """The share (T,) of a record's variance that is left at each level, abar in the papers."""
        return self.sampler.alphas_cumprod.double().numpy()

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Of what each record's loss draws."""
        return tuple(self.shape)

    @torch.no_grad()
    def told(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise (n, *shape) that the released network tells in x at levels (n,)."""
        return self.average(x.to(self.device, torch.float32), t.to(self.device))

    @torch.no_grad()
    def vary(self, x: Tensor, level: int, steps: int, seed: int) -> Tensor:
        """Images (n, *shape) noised to a level, by one draw for all, and denoised in even steps."""
        x = x.to(self.device, torch.float32)
        return vary_records(self.told, self.signal.tolist(), x, level=level, steps=steps, seed=seed)

    def losses_at_levels(
        self, x: Tensor, t: Tensor, noise: Tensor
    ) -> tuple[Losses, tuple[Tensor, ...]]:
        """Each record's `denoising_losses` by the released network."""
        return partial(self.denoising_losses, self.average), (x, t, noise)

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes (n, c * h * w), which are x_T, to images (n, c, h, w)."""
        return self.denoise_through(z.view(-1, *self.shape), self.sampler.timesteps).clamp(
            -1.0, 1.0
        )

    def denoise_through(self, x: Tensor, times: Sequence[int] | Tensor) -> Tensor:
        """Images (n, *shape) at level times[0] taken down to 0 by one DDIM step from each level."""
        for t in map(int, times):
            again = x.requires_grad  # a gradient through all steps needs the memory of one
            x = (
                checkpoint(self._ddim_step, x, t, use_reentrant=False)
                if again
                else self._ddim_step(x, t)
            )
        return x

    def _ddim_step(self, x: Tensor, t: int) -> Tensor:
        at = torch.full((len(x),), t, device=x.device)
        return self.sampler.step(self.average(x, at), t, x).prev_sample


class Denoiser(nn.Module):
    """A U-Net that tells the noise in images; (n, c, h, w) and levels (n,) -> (n, c, h, w)."""

    def __init__(
        self,
        shape: tuple[int, ...],
        patch: int,
        channels: tuple[int, ...],
        layers: int,
        attention: tuple[int, ...],
        groups: int,
        dropout: float,
    ) -> None:
        super().__init__()
        _refuse_shape(shape, patch, channels, attention, groups)
        self.patch = patch
        depth = shape[0] * patch**2
        kinds = [level in attention for level in range(len(channels))]
        self.unet: nn.Module = UNet2DModel(
            sample_size=shape[1] // patch,
            in_channels=depth,
            out_channels=depth,
            down_block_types=tuple("AttnDownBlock2D" if own else "DownBlock2D" for own in kinds),
            up_block_types=tuple("AttnUpBlock2D" if own else "UpBlock2D" for own in kinds[::-1]),
            block_out_channels=channels,
            layers_per_block=layers,
            norm_num_groups=groups,
            dropout=dropout,
            add_attention=any(kinds),
            attention_head_dim=None,
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise in x at level t."""
        if self.patch == 1:
            return self.unet(x, t, return_dict=False)[0]
        told = self.unet(pixel_unshuffle(x, self.patch), t, return_dict=False)[0]
        return pixel_shuffle(told, self.patch)


def _refuse_shape(
    shape: tuple[int, ...],
    patch: int,
    channels: tuple[int, ...],
    attention: tuple[int, ...],
    groups: int,
) -> None:
    if not channels or any(width < 1 or width % groups for width in channels):
        raise UserError(
            f"victim.channels={list(channels)}: multiples of victim.groups={groups}, for each level"
        )
    least = patch * 2 ** (len(channels) - 1)
    if shape[1] % least:
        raise UserError(
            f"victim.channels={list(channels)} and victim.patch={patch}: they need images with a "
            f"side that {least} divides, not {shape[1]}"
        )
    if unknown := sorted(set(attention) - set(range(len(channels)))):
        raise UserError(
            f"victim.attention={unknown}: levels are 0 to {len(channels) - 1}, one for each of "
            f"victim.channels"
        )
