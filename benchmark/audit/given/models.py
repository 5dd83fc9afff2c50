"""The models that were handed in: opened, moved to the device, and tried."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmark.audit.given.arrays import as_array
from benchmark.audit.given.inputs import Records
from benchmark.audit.given.pictures import pixel_range
from benchmark.audit.request import Request
from benchmark.store.folders import home
from benchmark.store.seeds import sub_seed
from victims.errors import UserError
from victims.given.diffusion import Diffusion
from victims.given.generators import Discriminator, Generator


@dataclass(frozen=True)
class Models:
    """The models that were handed in, on the audit's device."""

    generator: Generator | None
    discriminator: Discriminator | None
    diffusion: Diffusion | None


@dataclass(frozen=True)
class Bank:
    """What a generator of latent codes (k, z_dim) makes of them: outputs (k, ...) as it gives them.

    ends: what the darkest and the brightest pixel are in it. notes: what was decided about it.
    """

    codes: np.ndarray
    outputs: np.ndarray
    ends: tuple[float, float]
    notes: list[str]


def open_models(request: Request) -> Models:
    """The models as they are asked; objects that the caller made stay as they are."""
    kinds: dict[str, type[Any]] = {
        "generator": Generator,
        "discriminator": Discriminator,
        "diffusion": Diffusion,
    }
    models: dict[str, Any] = dict.fromkeys(kinds)
    for name, kind in kinds.items():
        source = request.sources.get(name)
        if source is None:
            continue
        model = home(source) if isinstance(source, str | Path) else source
        options = request.model_options[name]
        own = copy.copy(model) if isinstance(model, kind) else kind(model, **options)
        own.to(request.machine.device)
        models[name] = own
    return Models(**models)


def try_generator(
    generator: Generator | None, given: Mapping[str, Records], request: Request
) -> Bank | None:
    """The outputs of a generator of latent codes; None where there is none."""
    if generator is None or generator.sample is not None:
        return None
    members = given["members"]
    generator.check(members.shape)
    codes = _prior_codes(request.seed, request.bank_size, generator.z_dim)
    outputs = _generate_all(generator, codes, request.machine.batch_size)
    if not members.is_image:
        return Bank(codes, outputs, (-1.0, 1.0), [*generator.notes])
    ranges = [records.images.facts.get("range") for records in given.values()]
    known = next((ends for ends in ranges if ends is not None), None)
    (low, high), said = pixel_range(generator.name, outputs, generator.range, known)
    note = f"{generator.name}: pixels in [{low:g}, {high:g}]{said}"
    return Bank(codes, outputs, (low, high), [*generator.notes, note])


def draw_samples(generator: Generator, size: int) -> Any:
    """Samples of a callable that takes a number of them."""
    assert generator.sample is not None
    try:
        with torch.no_grad():
            drawn = generator.sample(size)
    except Exception as error:  # anyone's code
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise UserError(
            f"{generator.name}: asked for {size} samples, it fails: {reason}"
        ) from error
    drawn = as_array(generator.name, drawn) if isinstance(drawn, Tensor) else drawn
    if not isinstance(drawn, pd.DataFrame | np.ndarray) or len(drawn) != size:
        raise UserError(
            f"{generator.name}: asked for {size} samples, it gives a {type(drawn).__name__} of "
            f"length {len(drawn) if hasattr(drawn, '__len__') else 'unknown'}; an array, a tensor "
            f"or a DataFrame of {size} rows is needed; a model of latent codes needs z_dim, or "
            f"{generator.name}.z=..."
        )
    return drawn


def _prior_codes(seed: int, n: int, z_dim: int) -> np.ndarray:
    draw = np.random.default_rng(sub_seed(seed, "audit", "bank")).standard_normal((n, z_dim))
    return draw.astype(np.float32)


@torch.no_grad()
def _generate_all(generator: Generator, codes: np.ndarray, rows: int) -> np.ndarray:
    """Raw outputs for all codes; raises UserError where one is not finite."""
    blocks = torch.from_numpy(codes).split(rows)
    bank = torch.cat([generator(block).cpu() for block in blocks]).numpy()
    if bad := int((~np.isfinite(bank)).reshape(len(bank), -1).any(1).sum()):
        raise UserError(
            f"{generator.name}: {bad} of {len(bank)} outputs hold NaN or infinite values"
        )
    return bank
