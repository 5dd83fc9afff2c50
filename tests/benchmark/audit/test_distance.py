"""Audits say what columns are, and compare them, as jobs do."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from audit_models import table
from conftest import digits
from omegaconf import DictConfig
from rich.console import Console

from attacks.mixed import ByKind, Gower
from benchmark.audit.given.gather import open_case
from benchmark.audit.request import open_request
from benchmark.audit.run import Audit, compose_audit, run_audit
from benchmark.audit.steps import distance_in_words
from benchmark.data.table import Table
from benchmark.store.keys import plain
from victims.access import FullBlackBoxWithReference
from victims.errors import UserError
from victims.schema import Schema

Configured = Callable[..., DictConfig]
N = 60
NAMES = ("members", "non_members", "samples", "reference")
COLUMNS = (
    "attack=[full_black_box,closest_record,closest_record_ratio,monte_carlo_values,"
    "neighbour_density,domias_kde]"
)


def mixed(seed: int, n: int = N) -> pd.DataFrame:
    """Numbers, whole numbers with gaps, 0/1, 0/1 with gaps, and a category."""
    rng = np.random.default_rng(seed)
    frame = table(seed, n).assign(
        visits=rng.poisson(3, n).astype(float), owns=rng.integers(0, 2, n)
    )
    frame["visits"] = frame["visits"].where(rng.random(n) < 0.8)
    return frame.assign(owns=frame["owns"].astype(float).where(rng.random(n) < 0.9), k=7)


@pytest.fixture
def inputs() -> dict[str, pd.DataFrame]:
    return {name: mixed(seed) for seed, name in enumerate(NAMES)}


def of_job(inputs: dict[str, pd.DataFrame], folder: Path) -> tuple[Schema, dict[str, np.ndarray]]:
    """The same tables as one of a job, scaled to [0, 1]; the constant column is left out."""
    every = pd.concat(inputs.values()).drop(columns="k")
    every.to_csv(folder / "every.csv", index=False)
    own = Table(str(folder / "every.csv"), encode="unit")
    schema, rows, _ = own._encode_columns(own._read_table()[0])
    return schema, dict(zip(inputs, np.split(rows, len(inputs)), strict=True))


@pytest.mark.parametrize("distance", ["by_kind", "gower"])
def test_audits_compare_a_table_as_jobs_do(
    audit_config: Configured, inputs, tmp_path: Path, distance: str
) -> None:
    """The units in which numbers are stored differ, and what stands for a missing one."""
    request = open_request(audit_config(COLUMNS, f"distance={distance}"), inputs)
    case = open_case(request)
    schema, rows = of_job(inputs, tmp_path)
    kinds = [
        [(c.name, c.kind, c.levels, c.gaps) for c in own.columns]
        for own in (case.space.schema, schema)
    ]
    assert kinds[0] == kinds[1]
    device, brought = torch.device("cpu"), (rows["samples"], rows["reference"])
    view = FullBlackBoxWithReference(device, 64, *brought, schema=schema)
    asked = torch.from_numpy(np.concatenate([rows["members"], rows["non_members"]]))
    for name, attack in request.attacks.items():
        wanted = attack.score(view, asked[case.queries.rows])
        found = attack.score(case.view(attack.access), case.queries.records(np.arange(len(wanted))))
        np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-4, err_msg=name)


def test_gower_reaches_every_attack_that_compares_columns(
    audit_config: Configured, inputs, tmp_path: Path
) -> None:
    request = open_request(audit_config(COLUMNS, "distance=gower"), inputs)
    own = request.attacks
    for part in ("closest_record", "closest_record_ratio", "full_black_box"):
        assert isinstance(own[part].distance, Gower)
    assert isinstance(own["monte_carlo_values"].feature.distance, Gower)
    assert isinstance(own["neighbour_density"].search.distance, Gower)
    usual = open_request(audit_config(COLUMNS), inputs).attackers
    changed = {n for n, one in request.attackers.items() if one.filed != usual[n].filed}
    assert changed == {*own} - {"domias_kde"}  # scores are filed under the distance

    said = StringIO()
    found = run_audit(request, Console(file=said, width=400))
    page = found.write(tmp_path / "out").read_text()
    written = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert written["distance"] == "Gower"
    for text in (said.getvalue(), page, written["facts"]["distance"], *written["assumed"][-3:-1]):
        assert "Gower" in text or "full black box" in text
    assert "columns are compared by Gower's distance" in said.getvalue()
    assert "Columns are compared by Gower's distance" in page.replace("&#39;", "'")
    kept = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert "distance" not in kept["attack"]["closest_record"]  # `again` may choose another


def test_the_exposed_record_is_the_closest_by_the_chosen_distance(
    audit_config: Configured, inputs
) -> None:
    """A record that was released has distance 0, whatever the distance."""
    inputs["samples"] = pd.concat([inputs["samples"], inputs["members"][:30]])
    for distance in ("by_kind", "gower"):
        words = "attack=[full_black_box]", f"distance={distance}"
        found: Audit = run_audit(open_request(audit_config(*words), inputs))
        first = found.exposed[0]
        assert first.closest == N + int(first.id)
        assert first.distance == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("word", ["l2", "euclidean"])
def test_a_distance_that_counts_categories_twice_is_refused(
    audit_config: Configured, inputs, word: str
) -> None:
    with pytest.raises(UserError, match=r"choose distance=by_kind .*, standardised or gower"):
        run_audit(open_request(audit_config(f"distance={word}"), inputs))
    numbers = {name: frame[["age", "income"]] for name, frame in inputs.items()}
    whole = {name: frame.round() for name, frame in numbers.items()}
    words = f"distance={word}", "attack=[full_black_box]", "calibration=none"
    for given in (numbers, whole):  # whole numbers are no categories
        one, other = (
            run_audit(open_request(audit_config(*own), given)).result.rows["auroc"].tolist()
            for own in (words, ("distance=by_kind", *words[1:]))
        )
        assert one == pytest.approx(other, abs=0.002)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("l2", "columns are compared by the mean squared difference of their values, numbers over"),
        ("euclidean", "columns are compared by the root of the mean squared difference of their"),
        ("standardised", "columns are compared by Euclidean distance: numbers over their standard"),
        ("by_kind", "columns are compared by Euclidean distance: numbers over their standard"),
    ],
)
def test_the_distance_of_numbers_is_named(
    audit_config: Configured, inputs, tmp_path: Path, word: str, said: str
) -> None:
    numbers = {name: frame[["age", "income"]] for name, frame in inputs.items()}
    plan = StringIO()
    words = f"distance={word}", "attack=[full_black_box]", "calibration=none"
    found = run_audit(open_request(audit_config(*words), numbers), Console(file=plan, width=400))
    assert said in plan.getvalue()
    assert said[1:] in found.write(tmp_path / "out").read_text()


@pytest.mark.parametrize("word", ["l2", "euclidean", "by_kind"])
def test_a_distance_of_images_is_named_unless_it_is_the_default(
    audit_config: Configured, word: str
) -> None:
    images = {name: digits(seed, 20).numpy() for seed, name in enumerate(NAMES)}
    request = open_request(audit_config(f"distance={word}"), images)
    told = distance_in_words(request, open_case(request))
    wanted = "" if word == "by_kind" else "reconstructions are compared by the "
    assert told.startswith(wanted)
    assert bool(told) == bool(wanted)


def test_an_earlier_audit_asks_for_the_distance_that_it_meant(inputs, tmp_path: Path) -> None:
    for name, frame in inputs.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    given = {name: str(tmp_path / f"{name}.csv") for name in inputs}
    words = ["attack=[full_black_box]", f"machine.store={tmp_path}/store", "machine.progress=false"]
    first = run_audit(open_request(compose_audit(words), given))
    first.write(tmp_path / "old")
    kept = tmp_path / "old" / "config.yaml"
    kept.write_text(kept.read_text().replace("attacks.mixed.ByKind", "attacks.distances.L2"))

    def repeat(*more: str) -> Audit:
        config = compose_audit([f"again={tmp_path}/old", *words[1:], *more])
        given = {name: path for name, path in plain(config.given).items() if path is not None}
        return run_audit(open_request(config, given))

    with pytest.raises(UserError, match=r"choose distance=by_kind \(the meaning of l2 in earlier"):
        repeat()
    found = repeat("distance=by_kind")
    pd.testing.assert_frame_equal(found.result.scores, first.result.scores)


def test_images_have_no_columns(audit_config: Configured) -> None:
    images = {name: digits(seed, 20).numpy() for seed, name in enumerate(NAMES)}
    with pytest.raises(UserError, match=r"^distance=gower compares tables, not records of"):
        run_audit(open_request(audit_config("distance=gower"), images))
    request = open_request(audit_config(), images)
    assert isinstance(request.distance.made, ByKind)
    assert open_case(request).parts["schema"] is None


def test_a_distance_of_images_is_refused_for_tables(audit_config: Configured, inputs) -> None:
    """Else only the attacks that take it would be left out, and the others judge alone."""
    with pytest.raises(UserError, match=r"LPIPS compares images .* or by_kind where"):
        run_audit(open_request(audit_config("distance=lpips"), inputs))


def test_scores_are_filed_under_what_columns_are(audit_config: Configured, inputs) -> None:
    """Equal numbers of other columns are other records."""
    numbers = {n: f[["age", "income", "smokes"]] for n, f in inputs.items()}
    halves = {n: f.assign(smokes=f["smokes"] * 0.5) for n, f in numbers.items()}
    cases = [open_case(open_request(audit_config(), own)) for own in (numbers, halves)]
    keys = [case.filed_under(FullBlackBoxWithReference)["schema"] for case in cases]
    assert keys[0] != keys[1]
    assert [
        case.strangers.filed_under(FullBlackBoxWithReference)["schema"] for case in cases
    ] == keys
