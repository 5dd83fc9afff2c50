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

from benchmark.audit.case import Case, Queries, Space
from benchmark.audit.generators import Discriminator, Generator
from benchmark.audit.inputs import Reading, Records, by_index, read_input, some
from benchmark.audit.pictures import declared, pixel_range
from benchmark.audit.selection import LeftOut, choose_queries, strangers
from benchmark.audit.space import ImageSpace, TableSpace, agree
from benchmark.data.dataset import Dataset, in_memory
from benchmark.keys import plain
from benchmark.models import device_of
from benchmark.seeds import sub_seed
from benchmark.store import Store
from victims.access import UserError


def open_case(config: DictConfig, sources: Mapping[str, Any], store: Store) -> Case:
    """Read, check and try everything that was handed in; sources: see SOURCES.

    Raises UserError, one line, for whatever cannot be used.
    """
    _refuse_too_little(sources)
    generator, discriminator = _models(config, sources)
    given = agree(_inputs(config, sources, store))
    if generator is not None and generator.sample is not None and "samples" not in given:
        drawn = _drawn(generator, config.bank.size)
        reading = _without_id(_reading(config))
        given = agree(given | {"samples": read_input("samples", drawn, reading, store)})
    codes, raw = None, None
    if generator is not None and generator.sample is None:
        generator.check(_raw_shape(given["members"]))
        codes = _prior(config.seed, config.bank.size, generator.z_dim)
        raw = _generate(generator, codes, config.machine.batch_size)
    space = _space(config, given, generator, discriminator, raw)
    data = {name: space.records(records) for name, records in given.items()}
    queries, left_out = _queries(given, data, config.seed)
    parts, bank, missing = _base(config), {}, dict[str, str]()
    if generator is not None and codes is not None and raw is not None:
        data["generated"] = in_memory(space.from_model(torch.from_numpy(raw)).numpy())
        bank = {"released": data["generated"].values, "codes": codes}
        parts |= _generator_parts(generator, space)
    if discriminator is not None:
        parts["discriminate"] = _discriminate(discriminator, space, queries)
    if "reference" in data:
        kept = strangers(data["reference"].digests, queries.digests())
        left_out = replace(left_out, reference=int((~kept).sum()))
        if kept.any():  # attacks hold them in memory
            parts["reference"] = np.array(data["reference"].values)[kept]
        else:
            missing["reference"] = "every reference record has the content of a query"
    case = Case(given, space, data, queries, parts, bank, left_out, missing)
    if (released := case.released) is not None:
        parts["released"] = released.values
    return case


def _base(config: DictConfig) -> dict[str, Any]:
    device = device_of(config.machine.accelerator)
    return {"device": device, "batch_size": config.machine.batch_size}


# --- reading --------------------------------------------------------------------------------------


def _refuse_too_little(sources: Mapping[str, Any]) -> None:
    for name in ("members", "non_members"):
        if sources.get(name) is None:
            raise UserError(
                f"{name}= is missing: an audit needs records that the generator was trained on "
                f"(members) and records that it never saw (non_members)"
            )
    if all(sources.get(name) is None for name in ("samples", "generator", "discriminator")):
        raise UserError(
            "there is nothing to attack: give samples=, generator= or discriminator= (or several)"
        )


def _inputs(config: DictConfig, sources: Mapping[str, Any], store: Store) -> dict[str, Records]:
    _refuse_same_file(sources)
    reading = _reading(config)
    given = {}
    if sources.get("data") is not None:
        data = read_input("data", sources["data"], reading, store)
        given = {name: by_index(data, name, sources[name]) for name in ("members", "non_members")}
    for name in ("members", "non_members", "samples", "reference"):
        if name not in given and sources.get(name) is not None:
            own = reading if name.endswith("members") else _without_id(reading)
            given[name] = read_input(name, sources[name], own, store)
    found = {column for records in given.values() for column in records.left_out}
    if unknown := [column for column in reading.ignore if column not in found]:
        raise UserError(f"records.ignore: no input has a column named {some(unknown)}")
    return given


def _reading(config: DictConfig) -> Reading:
    records = plain(config.records)
    for name in ("ignore", "categorical"):  # one column may be given without brackets
        records[name] = [records[name]] if isinstance(records[name], str) else records[name]
    return Reading(**records)


def _without_id(reading: Reading) -> Reading:
    ignore = (*reading.ignore, *([] if reading.id is None else [reading.id]))
    return Reading(None, ignore, reading.categorical, reading.channels, reading.range)


def _models(
    config: DictConfig, sources: Mapping[str, Any]
) -> tuple[Generator | None, Discriminator | None]:
    models: list[Any] = []
    kinds: dict[str, type[Any]] = {"generator": Generator, "discriminator": Discriminator}
    for name, kind in kinds.items():
        model = sources.get(name)
        if model is not None and not isinstance(model, kind):
            model = kind(model, **plain(config[name]))
        if model is not None:
            model.network = model.network.to(device_of(config.machine.accelerator))
        models.append(model)
    return models[0], models[1]


def _drawn(generator: Generator, size: int) -> Any:
    """Samples of a callable that takes a number of them."""
    assert generator.sample is not None
    try:
        drawn = generator.sample(size)
    except Exception as error:  # anyone's code
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise UserError(
            f"{generator.name}: asked for {size} samples, it fails: {reason}"
        ) from error
    drawn = drawn.detach().cpu().numpy() if isinstance(drawn, Tensor) else drawn
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
    config: DictConfig,
    given: dict[str, Records],
    generator: Generator | None,
    discriminator: Discriminator | None,
    bank: np.ndarray | None,
) -> Space:
    """The space of all records; a generator's table joins `given`, as a yardstick."""
    members = given["members"]
    if members.is_image:
        low, high = -1.0, 1.0
        if bank is not None and generator is not None:
            low, high = pixel_range(generator.name, bank, generator.range)
        return ImageSpace(members.images.shape, low, high)
    if bank is not None:
        frame = pd.DataFrame(bank, columns=members.table.columns)
        given["generated"] = Records("generator", np.arange(len(bank)).astype(str), frame)
    space = TableSpace(given, _basis(given), _reading(config).categorical)
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
    return Queries(members, non_members, rows, ids), left_out


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


def _refuse_same_file(sources: Mapping[str, Any]) -> None:
    """Raise UserError where two inputs that must be disjoint are one file."""
    known: dict[Path, str] = {}
    for name in ("members", "non_members", "reference"):
        source = sources.get(name)
        if isinstance(source, str | Path):
            other = known.setdefault(Path(source).resolve(), name)
            if other != name:
                raise UserError(f"{other} and {name} are both {source}; they must be disjoint")
