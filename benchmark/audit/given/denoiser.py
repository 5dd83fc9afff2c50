"""A diffusion model of an audit: tried on non-members, and the parts that views of it show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.audit.given.case import Case, Space, hash_content
from benchmark.audit.given.pictures import declared_range
from benchmark.audit.given.space import ImageSpace
from benchmark.data.queries import Queries
from benchmark.measures.result import Check
from victims.access import AccessibleDenoiser
from victims.errors import NoAccess, UserError
from victims.given.diffusion import Diffusion
from victims.memo import Memo

TRIED = 64
"""Non-members that the model is tried on."""
PROBES = 4
"""Noises whose answers stand for the model in the store."""


@dataclass(frozen=True)
class Denoiser:
    """What is granted of a diffusion model. parts: by the names of views' fields. stands: part ->
    hash of what stands for it in the store. notes: how the model is attacked."""

    parts: dict[str, Any]
    stands: dict[str, str]
    notes: list[str]


def grant_denoiser(model: Diffusion | None, space: Space, queries: Queries) -> Denoiser:
    """A diffusion model's parts for records of this space. Raises UserError where it fails."""
    if model is None:
        return Denoiser({}, {}, [])
    if not isinstance(space, ImageSpace):
        raise UserError(
            f"{model.name}: it denoises images, but the records are a table; samples= or "
            f"generator= takes models of tables"
        )
    own = ImageSpace(space.shape)
    if model.range != "auto":
        own = ImageSpace(space.shape, *declared_range(model.name, model.range))
    tried = queries.records(np.flatnonzero(~queries.is_member)[:TRIED])
    model.check(own.to_model(tried))

    def encode(x: Tensor) -> Tensor:
        return model.encode(own.to_model(x.float()))

    def vary(x: Tensor, level: int, steps: int, seed: int) -> Tensor:
        return own.from_model(model.vary(own.to_model(x.float()), level, steps, seed))

    parts: dict[str, Any] = {"denoise": Memo(model.told), "signal": model.signal, "encode": encode}
    parts |= {"vary": vary, "timesteps": len(model.signal)}
    inner = tuple(encode(tried[:1]).shape[1:])
    hashed = hash_content(_sample_answers(model, inner))
    notes = [f"{model.name}: {len(model.signal)} noise levels"]
    if model.vae is not None:
        sides = "x".join(map(str, inner))
        notes.append(f"{model.name}: attacked in the latent space of its VAE, {sides}")
    return Denoiser(parts, {"denoise": hashed, "vary": hashed}, notes)


def _sample_answers(model: Diffusion, inner: tuple[int, ...]) -> np.ndarray:
    """What the model tells of fixed noises at even levels, and its schedule, (1, k)."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((PROBES, *inner))).float()
    t = torch.arange(PROBES) * (len(model.signal) - 1) // (PROBES - 1)
    told = model.told(x.to(model.device), t).flatten().double().cpu().numpy()
    return np.concatenate([told, model.signal])[None]


def check_denoiser(case: Case) -> list[Check]:
    """A denoiser that tells noise no better than who tells none: its schedule may be another's."""
    try:
        view: AccessibleDenoiser = case.view(AccessibleDenoiser)
    except NoAccess:
        return []
    queries = case.queries
    tried = queries.records(np.flatnonzero(~queries.is_member)[:TRIED])
    x = view.encode(tried.to(view.device))
    level = int(np.argmin(np.abs(view.signal - 0.5)))
    noise = np.random.default_rng(0).standard_normal(tuple(x.shape))
    drawn = torch.from_numpy(noise).to(x)
    left = float(view.signal[level])
    noised = left**0.5 * x + (1 - left) ** 0.5 * drawn
    blocks = noised.split(view.batch_size)
    told = torch.cat([view.denoise(part, torch.full((len(part),), level)) for part in blocks])
    error = float((told - drawn).square().mean())
    if error < 1:
        return []
    message = (
        f"at level {level}, where half of what the network sees is noise, its squared error is "
        f"{error:.2f}; to tell no noise at all has 1. Does the schedule fit the network, and are "
        f"the pixels in the range that it was trained on? Attacks on it find little"
    )
    return [Check("denoiser", "warning", message)]
