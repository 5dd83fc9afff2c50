"""Diffusion models of one's own, as the views that the benchmark's victims grant."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from victims.errors import UserError
from victims.given.generators import TRIED, check_model
from victims.given.networks import ENTRY, as_network, call_named, make_ready, on_device
from victims.given.pipelines import Pipeline, of_object, open_folder
from victims.variation import vary_records

LEVELS = 11
"""Even noise levels at which a model is tried."""


class Diffusion:
    """A diffusion model of one's own: the noise in a record at a level, and the schedule.

    source: a folder that diffusers' `save_pretrained` wrote (a pipeline, or a U-Net with its
    scheduler); `my_module:function` that makes one of what follows; such a pipeline in memory; or a
    callable (x, t) -> noise, x (n, c, h, w), t (n,) int64. With a VAE beside it, attacks work on
    the latents, which are the mean of what it encodes. schedule: of a callable, the share (T,) of a
    record's variance that is left at each level (abar). range: (low, high) of the pixels that the
    network was trained on, "auto": (-1, 1). name: the setting, for messages.
    """

    def __init__(
        self,
        source: Any,
        schedule: Sequence[float] | np.ndarray | None = None,
        range: str | Sequence[float] = "auto",
        name: str = "diffusion",
    ) -> None:
        self.name, self.range = name, range
        self.pipeline = _open_pipeline(name, source, schedule)
        self.signal = _check_signal(name, self.pipeline.signal)
        self.network = as_network(self.pipeline.network)
        self.vae: Any = self.pipeline.vae
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Move it to a device, ready for attacks."""
        self.device = device
        self.network = self.network.to(device)
        self.vae = None if self.vae is None else on_device(make_ready(self.vae), device)

    @torch.no_grad()
    def told(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise (n, *inner) in images or latents (n, *inner) at levels (n,)."""
        if int(t.min()) < 0 or int(t.max()) >= len(self.signal):
            raise UserError(
                f"{self.name}: level {int(t.max())} is outside its schedule, 0 to "
                f"{len(self.signal) - 1}"
            )
        x, t = x.to(self.device, torch.float32), t.to(self.device)
        found = self.network(x, t)
        if found.ndim == x.ndim and found.shape[1] == 2 * x.shape[1]:  # it tells a variance too
            found = found[:, : x.shape[1]]
        if self.pipeline.prediction == "epsilon":
            return found
        left = torch.from_numpy(self.signal).to(x)[t].view(-1, *[1] * (x.ndim - 1))
        if self.pipeline.prediction == "v_prediction":
            return left.sqrt() * found + (1 - left).sqrt() * x
        return (x - left.sqrt() * found) / (1 - left).sqrt()

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Images (n, c, h, w), pixels as the network knows them, to what it denoises."""
        x = x.to(self.device)
        if self.vae is None:
            return x
        found = self.vae.encode(x)
        latents = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latents
        return (latents - self._shift_of_latents()) * self.vae.config["scaling_factor"]

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        """The inverse of `encode`, as far as there is one."""
        if self.vae is None:
            return x
        return self.vae.decode(
            x / self.vae.config["scaling_factor"] + self._shift_of_latents()
        ).sample

    def _shift_of_latents(self) -> float:
        return float(self.vae.config.get("shift_factor") or 0.0)

    def vary(self, x: Tensor, level: int, steps: int, seed: int) -> Tensor:
        """Images (n, c, h, w) noised to a level by one draw for all, and denoised in even steps."""
        signal, latents = self.signal.tolist(), self.encode(x)
        return self.decode(
            vary_records(self.told, signal, latents, level=level, steps=steps, seed=seed)
        )

    def check(self, x: Tensor) -> None:
        """Try it on a few images (n, c, h, w), pixels as it knows them; raises UserError."""
        x = x[:TRIED]
        advice = "does it take images of this shape, and nothing else?"
        if self.vae is not None:
            there = f"{self.name}, its VAE"
            check_model(there, lambda x: self.decode(self.encode(x)), x, tuple(x.shape[1:]), advice)
        x = self.encode(x)
        self._refuse_others(tuple(x.shape[1:]))
        for t in np.linspace(0, len(self.signal) - 1, LEVELS, dtype=int).tolist():
            told = partial(self._told_at, t)
            check_model(f"{self.name} at level {t}", told, x, tuple(x.shape[1:]), advice)

    def _told_at(self, t: int, x: Tensor) -> Tensor:
        return self.told(x, torch.full((len(x),), t))

    def _refuse_others(self, shape: tuple[int, ...]) -> None:
        """Raise UserError where the network was trained on another kind of images or latents."""
        what = "images" if self.vae is None else "latents that the VAE makes"
        channels, side = self.pipeline.channels, self.pipeline.side
        if channels is not None and channels != shape[0]:
            latent = "; is it a latent one, and its VAE not in the folder?" if channels == 4 else ""
            raise UserError(
                f"{self.name}: the network takes {channels} channels, the {what} have {shape[0]}"
                f"{latent or ' (records.channels=1 or 3 reads files as grey or colour)'}"
            )
        if side is not None and (side, side) != shape[1:]:
            raise UserError(
                f"{self.name}: the network was trained on {side}x{side} (sample_size in its "
                f"config), the {what} are {shape[1]}x{shape[2]}; give the records in that size"
            )


def _open_pipeline(name: str, source: Any, schedule: Any) -> Pipeline:
    """What a folder, an entry or an object stands for."""
    if isinstance(source, str | Path):
        if Path(source).is_dir():
            return open_folder(name, Path(source))
        if Path(source).exists():
            raise UserError(
                f"{name}={source}: a folder is needed, as diffusers' save_pretrained writes it; "
                f"single files (.ckpt, .bin, .pt) may be pickles, and say nothing of the schedule"
            )
        if not ENTRY.fullmatch(str(source)):
            raise UserError(f"{name}={source}: there is no such folder")
        source = call_named(name, str(source))
    if isinstance(source, Diffusion):
        return source.pipeline
    if hasattr(source, "unet") and hasattr(source, "scheduler"):
        return of_object(name, source)
    if not callable(source):
        raise UserError(
            f"{name}: a {type(source).__name__} is no diffusion model; needed is a folder, a "
            f"pipeline of diffusers, or a callable (x, t) -> noise"
        )
    if schedule is None:
        raise UserError(
            f"{name}: a callable needs its schedule: Diffusion(model, schedule=abar), the share of "
            f"a record's variance left at each of T levels"
        )
    return Pipeline(source, np.asarray(getattr(schedule, "alphas_cumprod", schedule)))


def _check_signal(name: str, values: np.ndarray) -> np.ndarray:
    """A schedule (T,) as float64. Raises UserError for what is none."""
    signal = np.asarray(values, np.float64)
    if signal.ndim != 1 or len(signal) < 2 or not np.isfinite(signal).all():
        raise UserError(
            f"{name}: its schedule has shape {signal.shape}; needed are two finite numbers or more"
        )
    if signal.max() > 1 or signal.min() < 0 or (np.diff(signal) >= 0).any():
        raise UserError(
            f"{name}: its schedule must fall, within [0, 1]: the share of a record's variance that "
            f"is left at each level (abar, the product of 1 - beta); are these the betas?"
        )
    return signal
