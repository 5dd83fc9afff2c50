"""From what was handed in to a case: inputs read and checked, models tried, queries drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor

from benchmark.audit.given.arrays import as_array
from benchmark.audit.given.case import Case, Space
from benchmark.audit.given.denoiser import granted
from benchmark.audit.given.inputs import (
    Reading,
    Records,
    by_index,
    open_input,
    settle,
    some,
)
from benchmark.audit.given.pictures import declared, pixel_range
from benchmark.audit.given.refusals import (
    refuse_equal,
    refuse_idle,
    refuse_same_file,
    refuse_too_little,
)
from benchmark.audit.given.selection import LeftOut, choose_queries, strangers
from benchmark.audit.given.space import ImageSpace, TableSpace, agree
from benchmark.config.machine import device_of
from benchmark.data.dataset import Dataset, in_memory
from benchmark.data.joined import joined
from benchmark.data.queries import Queries
from benchmark.store.entries import Store
from benchmark.store.folders import home
from benchmark.store.keys import plain
from benchmark.store.seeds import sub_seed
from victims.errors import UserError
from victims.given.diffusion import Diffusion
from victims.given.generators import Discriminator, Generator


def open_case(config: DictConfig, sources: Mapping[str, Any], store: Store) -> Case:
    """Read, check and try everything that was handed in; sources: see SOURCES.

    Raises UserError, one line, for whatever cannot be used.
    """
    refuse_too_little(sources)
    generator, discriminator, diffusion = _models(config, sources)
    refuse_idle(config, sources, generator)
    opened, reading = _inputs(config, sources, store), _reading(config)
    ranges = {}
    if generator is not None and generator.sample is not None and "samples" not in opened:
        drawn = _drawn(generator, config.bank.size)
        opened["samples"] = open_input("samples", drawn, _without_id(reading), store)
        ranges = {"samples": generator.range}
    given, notes = settle(agree(opened), reading, store, ranges)
    if "data" in given:
        every = given.pop("data")
        picked = {n: by_index(every, n, sources[n]) for n in ("members", "non_members")}
        given = picked | given
    given = agree(given)
    codes, raw = None, None
    if generator is not None and generator.sample is None:
        generator.check(_raw_shape(given["members"]))
        notes += generator.notes
        codes = _prior(config.seed, config.bank.size, generator.z_dim)
        raw = _generate(generator, codes, config.machine.batch_size)
    space = _space(given, generator, discriminator, raw, notes)
    data = {name: space.records(records) for name, records in given.items()}
    refuse_equal(data)
    queries, left_out = _queries(given, data, config.seed)
    own = granted(diffusion, space, queries)
    parts, bank, missing = _base(config) | own.parts, {}, dict[str, str]()
    if generator is not None and codes is not None and raw is not None:
        data["generated"] = in_memory(space.from_model(torch.from_numpy(raw)).numpy())
        bank = {"released": data["generated"].values, "codes": codes}
        parts |= _generator_parts(generator, space)
    if discriminator is not None:
        parts["discriminate"] = _discriminate(discriminator, space, queries)
    if "reference" in data:
        kept = strangers(data["reference"].digests, queries.digests)
        left_out = replace(left_out, reference=int((~kept).sum()))
        if kept.any():  # attacks hold them in memory
            parts["reference"] = np.array(data["reference"].values)[kept]
        else:
            missing["reference"] = "every reference record has the content of a query"
    said = (*notes, *own.notes)
    case = Case(given, space, data, queries, parts, bank, left_out, missing, said, own.stands)
    if (released := case.released) is not None:
        parts["released"] = released.values
    return case


def _base(config: DictConfig) -> dict[str, Any]:
    device = device_of(config.machine.accelerator)
    return {"device": device, "batch_size": config.machine.batch_size}


# --- reading --------------------------------------------------------------------------------------


def _inputs(config: DictConfig, sources: Mapping[str, Any], store: Store) -> dict[str, Records]:
    refuse_same_file(sources)
    reading = _reading(config)
    given = {}
    indexed = ("members", "non_members") if sources.get("data") is not None else ()
    for name in ("data", "members", "non_members", "samples", "reference"):
        if name not in indexed and sources.get(name) is not None:
            own = reading if name in ("data", "members", "non_members") else _without_id(reading)
            given[name] = open_input(name, sources[name], own, store)
    found = {column for records in given.values() for column in records.left_out}
    if unknown := [column for column in reading.ignore if column not in found]:
        raise UserError(f"records.ignore: no input has a column named {some(unknown)}")
    return given


def _reading(config: DictConfig) -> Reading:
    records = plain(config.records)
    for name in ("ignore", "categorical", "missing"):  # one may be given without brackets
        one = not isinstance(records[name], list)
        records[name] = [str(part) for part in ([records[name]] if one else records[name])]
    return Reading(**records)


def _without_id(reading: Reading) -> Reading:
    ignore = (*reading.ignore, *([] if reading.id is None else [reading.id]))
    return replace(reading, id=None, ignore=ignore)


def _models(
    config: DictConfig, sources: Mapping[str, Any]
) -> tuple[Generator | None, Discriminator | None, Diffusion | None]:
    models: list[Any] = []
    kinds: dict[str, type[Any]] = {
        "generator": Generator,
        "discriminator": Discriminator,
        "diffusion": Diffusion,
    }
    for name, kind in kinds.items():
        source = sources.get(name)
        model = home(source) if isinstance(source, str | Path) else source
        if model is not None and not isinstance(model, kind):
            model = kind(model, **plain(config[name]))
        if model is not None:
            model.to(device_of(config.machine.accelerator))
        models.append(model)
    return models[0], models[1], models[2]


def _drawn(generator: Generator, size: int) -> Any:
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


def _raw_shape(members: Records) -> tuple[int, ...]:
    return members.images.shape if members.is_image else (members.table.shape[1],)


def _prior(seed: int, n: int, z_dim: int) -> np.ndarray:
    draw = np.random.default_rng(sub_seed(seed, "audit", "bank")).standard_normal((n, z_dim))
    return draw.astype(np.float32)


@torch.no_grad()
def _generate(generator: Generator, codes: np.ndarray, rows: int) -> np.ndarray:
    """Raw outputs for all codes; raises UserError where one is not finite."""
    blocks = torch.from_numpy(codes).split(rows)
    bank = torch.cat([generator(block).cpu() for block in blocks]).numpy()
    if bad := int((~np.isfinite(bank)).reshape(len(bank), -1).any(1).sum()):
        raise UserError(
            f"{generator.name}: {bad} of {len(bank)} outputs hold NaN or infinite values"
        )
    return bank


# --- one space ------------------------------------------------------------------------------------


def _space(
    given: dict[str, Records],
    generator: Generator | None,
    discriminator: Discriminator | None,
    bank: np.ndarray | None,
    notes: list[str],
) -> Space:
    """The space of all records; a generator's table joins `given`, as a yardstick.

    notes: what was decided, to be added to.
    """
    members = given["members"]
    if members.is_image:
        low, high = -1.0, 1.0
        if bank is not None and generator is not None:
            ranges = [given[n].images.facts.get("range") for n in given]
            known = next((ends for ends in ranges if ends is not None), None)
            (low, high), said = pixel_range(generator.name, bank, generator.range, known)
            notes.append(f"{generator.name}: pixels in [{low:g}, {high:g}]{said}")
        return ImageSpace(members.images.shape, low, high)
    if bank is not None:
        frame = pd.DataFrame(bank, columns=members.table.columns)
        given["generated"] = Records("generator", np.arange(len(bank)).astype(str), frame)
    space = TableSpace(given, _basis(given))
    for model in (generator, discriminator):
        if model is not None and getattr(model, "sample", None) is None:
            space.refuse_categories(model.name)
    return space


def _basis(given: Mapping[str, Records]) -> str:
    """The input that standardises the columns: not the members, and none of equal rows only."""
    possible = (name for name in ("reference", "samples", "generated") if name in given)
    varied = (name for name in possible if (given[name].table.nunique() > 1).any())
    return next(varied, "non_members")


def _queries(
    given: Mapping[str, Records], data: Mapping[str, Dataset], seed: int
) -> tuple[Queries, LeftOut]:
    """The records that are asked about, and what was left out."""
    members, non_members = data["members"], data["non_members"]
    rows, left_out = choose_queries(members.digests, non_members.digests, seed)
    ids = np.concatenate([given["members"].ids, given["non_members"].ids])[rows]
    is_member, numbers = rows < len(members.values), np.arange(len(rows))
    return Queries(joined(members, non_members), rows, is_member, numbers, ids), left_out


def _generator_parts(generator: Generator, space: Space) -> dict[str, Any]:
    @torch.no_grad()
    def generate(z: Tensor) -> Tensor:
        return space.from_model(generator(z.float()))

    parts: dict[str, Any] = {"generate": generate}
    if generator.differentiable():
        parts["differentiate"] = lambda z: space.from_model(generator(z.float()))
    return parts


def _discriminate(discriminator: Discriminator, space: Space, queries: Queries) -> Any:
    """The discriminator on records of the space, tried on non-members."""
    if isinstance(space, ImageSpace) and discriminator.range != "auto":
        space = ImageSpace(space.shape, *declared(discriminator.name, discriminator.range))

    @torch.no_grad()
    def discriminate(x: Tensor) -> Tensor:
        return discriminator(space.to_model(x))

    some = queries.records(np.flatnonzero(~queries.is_member)[:64])
    discriminator.check(space.to_model(some))
    return discriminate
