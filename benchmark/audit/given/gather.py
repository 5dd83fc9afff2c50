"""From what was handed in to a case: inputs read and checked, models tried, queries drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmark.audit.given.case import Case, Space
from benchmark.audit.given.denoiser import grant_denoiser
from benchmark.audit.given.fit import Fit
from benchmark.audit.given.inputs import (
    Reading,
    Records,
    by_index,
    first_few,
    open_input,
    settle_inputs,
)
from benchmark.audit.given.models import Bank, Models, draw_samples, open_models, try_generator
from benchmark.audit.given.pictures import declared_range
from benchmark.audit.given.refusals import (
    refuse_equal,
    refuse_idle_prior,
    refuse_same_file,
)
from benchmark.audit.given.selection import LeftOut, choose_queries, is_stranger
from benchmark.audit.given.space import ImageSpace, TableSpace, agree_on_columns
from benchmark.audit.request import Request
from benchmark.data.dataset import Dataset, in_memory
from benchmark.data.joined import join_datasets
from benchmark.data.queries import Queries
from benchmark.store.seeds import sub_seed
from victims.errors import UserError
from victims.given.generators import Discriminator, Generator


@dataclass(frozen=True)
class Inputs:
    """The records that were handed in, by their setting. notes: how they were read."""

    records: dict[str, Records]
    notes: list[str]


def open_case(request: Request) -> Case:
    """Read the records, try the models, place all in one space.

    Raises UserError, one line, for whatever cannot be used.
    """
    request.store.check()
    if request.descriptor is not None:
        request.descriptor.load()
    models = open_models(request)
    refuse_idle_prior(models.generator)
    inputs = _read_inputs(request, models.generator)
    _refuse_descriptor(request, inputs)
    inputs, fit = _open_fit(request, inputs)
    bank = try_generator(models.generator, inputs.records, request)
    return replace(_place_in_space(request, inputs, models, bank), fit=fit)


def _refuse_descriptor(request: Request, inputs: Inputs) -> None:
    """Raise UserError where copies are looked for by descriptors that such records do not have."""
    if request.descriptor is not None:
        request.descriptor.refuse(inputs.records["members"].shape)


# --- reading --------------------------------------------------------------------------------------


def _read_inputs(request: Request, generator: Generator | None) -> Inputs:
    """Read and check the records; a generator that is asked for samples gives some."""
    sources, reading, store = request.sources, request.reading, request.store
    refuse_same_file(sources)
    opened = _open_inputs(request)
    ranges = {}
    if generator is not None and generator.sample is not None and "samples" not in opened:
        drawn = draw_samples(generator, request.bank_size)
        samples = open_input("samples", drawn, _without_id(reading), store)
        opened, ranges = {**opened, "samples": samples}, {"samples": generator.range}
    given, notes = settle_inputs(agree_on_columns(opened), reading, store, ranges)
    if "data" in given:
        every = given["data"]
        picked = {n: by_index(every, n, sources[n]) for n in ("members", "non_members")}
        given = picked | {name: records for name, records in given.items() if name != "data"}
    return Inputs(agree_on_columns(given), notes)


def _open_fit(request: Request, inputs: Inputs) -> tuple[Inputs, Fit | None]:
    """The training function, if there is one; what it makes of the members joins the inputs where
    nothing else was released."""
    sources, given = request.sources, inputs.records
    if "fit" not in sources:
        return inputs, None
    fit = Fit(
        sources["fit"],
        given,
        store=request.store,
        size=len(given["samples"]) if "samples" in given else request.bank_size,
        workers=request.machine.workers or 1,
    )
    if "samples" in given or "generator" in sources:
        return inputs, fit
    released = fit.train_on_members(sub_seed(request.seed, "release") % 2**32)
    return replace(inputs, records={**given, "samples": replace(released, name="samples")}), fit


def _open_inputs(request: Request) -> dict[str, Records]:
    sources, reading = request.sources, request.reading
    indexed = ("members", "non_members") if "data" in sources else ()
    given: dict[str, Records] = {}
    for name in ("data", "members", "non_members", "samples", "reference"):
        if name not in indexed and name in sources:
            own = reading if name in ("data", "members", "non_members") else _without_id(reading)
            given[name] = open_input(name, sources[name], own, request.store)
    found = {column for records in given.values() for column in records.left_out}
    if unknown := [column for column in reading.ignore if column not in found]:
        raise UserError(f"records.ignore: no input has a column named {first_few(unknown)}")
    return given


def _without_id(reading: Reading) -> Reading:
    ignore = (*reading.ignore, *([] if reading.id is None else [reading.id]))
    return replace(reading, id=None, ignore=ignore)


# --- placing --------------------------------------------------------------------------------------


def _place_in_space(request: Request, inputs: Inputs, models: Models, bank: Bank | None) -> Case:
    """Everything in one space: the queries are drawn, and what attackers may touch is granted."""
    given = _with_generated(inputs.records, bank)
    space = _choose_space(given, models, bank)
    data = {name: space.records(records) for name, records in given.items()}
    refuse_equal(data)
    constants = [*getattr(space, "constants", {})]
    queries, left_out = _draw_queries(given, data, request.seed, constants)
    machine, own = request.machine, grant_denoiser(models.diffusion, space, queries)
    parts = {"device": machine.device, "batch_size": machine.batch_size, **own.parts}
    parts["schema"] = getattr(space, "schema", None)
    shown: dict[str, np.ndarray] = {}
    if bank is not None and models.generator is not None:
        outputs = torch.from_numpy(bank.outputs)
        data["generated"] = in_memory(space.from_model(outputs).numpy())
        shown = {"released": data["generated"].values, "codes": bank.codes}
        parts |= _generator_parts(models.generator, space)
    if models.discriminator is not None:
        parts["discriminate"] = _wrap_discriminator(models.discriminator, space, queries)
    missing = {}
    if "reference" in data:
        kept = is_stranger(data["reference"].digests, queries.digests)
        left_out = replace(left_out, reference=int((~kept).sum()))
        if kept.any():  # attacks hold them in memory
            parts["reference"] = np.array(data["reference"].values)[kept]
        else:
            missing["reference"] = "every reference record has the content of a query"
    case = Case(
        given=given,
        space=space,
        data=data,
        queries=queries,
        parts=parts,
        bank=shown,
        left_out=left_out,
        missing=missing,
        notes=(*inputs.notes, *(bank.notes if bank else []), *own.notes),
        stands=own.stands,
    )
    released = case.released
    if released is None:
        return case
    return replace(case, parts={**parts, "released": released.values})


def _with_generated(given: Mapping[str, Records], bank: Bank | None) -> dict[str, Records]:
    """The records, and beside tables a generator's outputs, as a yardstick."""
    members = given["members"]
    if bank is None or members.is_image:
        return dict(given)
    frame = pd.DataFrame(bank.outputs, columns=members.table.columns)
    ids = np.arange(len(frame)).astype(str)
    return {**given, "generated": Records("generator", ids, frame)}


def _choose_space(given: Mapping[str, Records], models: Models, bank: Bank | None) -> Space:
    """The space of all records, and of what models take and make."""
    members = given["members"]
    if members.is_image:
        return ImageSpace(members.images.shape, *(bank.ends if bank else (-1.0, 1.0)))
    space = TableSpace(dict(given), _choose_basis(given))
    for model in (models.generator, models.discriminator):
        if model is not None and getattr(model, "sample", None) is None:
            space.refuse_categories(model.name)
    return space


def _choose_basis(given: Mapping[str, Records]) -> str:
    """The input that standardises the columns: what was released, as in jobs, if that varies."""
    possible = (name for name in ("samples", "generated", "reference") if name in given)
    varied = (name for name in possible if (given[name].table.nunique() > 1).any())
    return next(varied, "non_members")


def _draw_queries(
    given: Mapping[str, Records], data: Mapping[str, Dataset], seed: int, constants: Sequence[str]
) -> tuple[Queries, LeftOut]:
    """The records that are asked about, and what was left out; constants: columns left out."""
    members, non_members = data["members"], data["non_members"]
    rows, left_out = choose_queries(members.digests, non_members.digests, seed, constants)
    ids = np.concatenate([given["members"].ids, given["non_members"].ids])[rows]
    is_member, numbers = rows < len(members.values), np.arange(len(rows))
    return Queries(join_datasets(members, non_members), rows, is_member, numbers, ids), left_out


def _generator_parts(generator: Generator, space: Space) -> dict[str, Any]:
    @torch.no_grad()
    def generate(z: Tensor) -> Tensor:
        return space.from_model(generator(z.float()))

    parts: dict[str, Any] = {"generate": generate}
    if generator.is_differentiable():
        parts["differentiate"] = lambda z: space.from_model(generator(z.float()))
    return parts


def _wrap_discriminator(discriminator: Discriminator, space: Space, queries: Queries) -> Any:
    """The discriminator on records of the space, tried on non-members."""
    if isinstance(space, ImageSpace) and discriminator.range != "auto":
        space = ImageSpace(space.shape, *declared_range(discriminator.name, discriminator.range))

    @torch.no_grad()
    def discriminate(x: Tensor) -> Tensor:
        return discriminator(space.to_model(x))

    some = queries.records(np.flatnonzero(~queries.is_member)[:64])
    discriminator.check(space.to_model(some))
    return discriminate
