"""Whole audits: right verdicts, what is written, what is not computed twice."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from audit_models import Decoder, closeness, table
from conftest import digits
from scipy.spatial.distance import cdist

from attacks.full_black_box import NearestSample
from benchmark.audit.__main__ import main
from benchmark.audit.run import Audit
from victims.errors import UserError

Audited = Callable[..., Audit]
N = 200


def resampled(frame: pd.DataFrame, seed: int, n: int) -> pd.DataFrame:
    return frame.iloc[np.random.default_rng(seed).integers(0, len(frame), n)]


@pytest.fixture
def inputs() -> dict[str, pd.DataFrame]:
    return {"members": table(0, N), "non_members": table(1, N)}


def test_a_resampler_leaks_and_the_true_distribution_does_not(audited: Audited, inputs) -> None:
    leaking = audited(**inputs, samples=resampled(inputs["members"], 2, 4 * N))
    assert leaking.verdict.word == "leak"
    assert leaking.verdict.strongest.auroc > 0.95
    expected = len(resampled(inputs["members"], 2, 4 * N).drop_duplicates())
    assert leaking.facts.copies.copied_members == expected
    assert leaking.facts.copies.copied_non_members == 0
    assert all(exposed.above == 0 for exposed in leaking.exposed)
    more = {"members": table(0, 4 * N), "non_members": table(1, 4 * N)}
    safe = audited(**more, samples=table(3, 4 * N))
    assert f"AUROC {safe.verdict.strongest.gain[0]:.3f}" in safe.beside[0]
    share = safe.result.copies.set_index("measure").loc["DCR share", "members"]
    assert f"DCR share {share:.3f}" in safe.beside[0]
    assert "proves nothing" in safe.beside[1]
    assert safe.verdict.word == "no leak found"
    assert safe.facts.copies.copied_members == 0


def test_members_that_differ_by_themselves_are_pointed_out(audited: Audited, inputs) -> None:
    samples = table(3, 4 * N)
    assert "split leaks" not in {c.name for c in audited(**inputs, samples=samples).result.checks}
    column = inputs["members"].select_dtypes("float").columns[0]
    spread = inputs["members"][column].std()
    inputs["non_members"][column] += 0.5 * spread
    (found,) = [
        c for c in audited(**inputs, samples=samples).result.checks if c.name == "split leaks"
    ]
    assert "never looks at the victim" in found.message


def test_the_nearest_part_is_that_of_a_brute_force_search(audited: Audited) -> None:
    rng = np.random.default_rng(0)
    spread = 10.0 ** rng.integers(-3, 4, 30)
    members, others, samples = (rng.standard_normal((n, 30)) * spread for n in (300, 300, 900))
    found = audited(members=members, non_members=others, samples=samples)
    ours = found.result.scores.query("attack == 'full_black_box' and member").set_index("id")
    scaled = [x / samples.std(0) for x in (members, samples)]
    expected = -cdist(*scaled, "sqeuclidean").min(1) / 30
    np.testing.assert_allclose(ours["score"][[str(i) for i in range(300)]], expected, rtol=1e-5)


def test_half_a_resampler_leaks_half(audited: Audited, inputs) -> None:
    copied = inputs["members"].iloc[: N // 2]
    found = audited(**inputs, samples=pd.concat([copied, table(3, N)])).verdict
    assert found.sharpest.found == pytest.approx(0.5, abs=0.03)
    assert found.sharpest.found_low < 0.5 < found.sharpest.found_high


def test_twenty_records_are_too_few_to_clear_a_generator(audited: Audited) -> None:
    found = audited(members=table(0, 20), non_members=table(1, 20), samples=table(2, 100))
    assert found.verdict.word == "inconclusive"
    assert "few queries" in {check.name for check in found.result.checks}
    assert np.isnan(found.verdict.sharpest.found)


def test_reference_records_add_calibrated_rows(audited: Audited, inputs) -> None:
    found = audited(**inputs, samples=table(3, N), reference=table(4, N))
    kinds = found.result.rows.set_index("attack")["calibrated"]
    assert list(kinds["full_black_box"]) == ["none", "difference"]
    scores = found.result.scores.set_index(["attack", "calibrated"])["score"]
    victim = scores["full_black_box", "none"].to_numpy()
    twice = pd.concat([table(4, N), table(4, N)])  # equal inputs are refused
    alone = audited(**inputs, samples=table(4, N), reference=twice)
    same = alone.result.scores.set_index(["attack", "calibrated"])["score"]
    # Victim and reference release the same records: calibrated scores are all zero.
    assert np.allclose(same["full_black_box", "difference"], 0)
    assert not np.allclose(scores["full_black_box", "difference"], victim)


def test_records_on_both_sides_are_left_out_and_named(audited: Audited, inputs) -> None:
    both = pd.concat([inputs["non_members"], inputs["members"].iloc[:5]])
    found = audited(members=inputs["members"], non_members=both, samples=table(3, N))
    assert found.facts.shared == 10
    assert (found.facts.members, found.facts.non_members) == (N - 5, N)
    (check,) = [check for check in found.result.checks if check.name == "overlap"]
    assert check.level == "warning"
    many = pd.concat([inputs["non_members"], inputs["members"].iloc[:50]])
    found = audited(
        "fail_if.auroc_lower=0.9", members=inputs["members"], non_members=many, samples=table(3, N)
    )
    assert found.verdict.word == "invalid"
    assert found.exit_code == 3  # what is not valid keeps no limit


def test_reference_records_that_are_queries_are_left_out_of_it(audited: Audited, inputs) -> None:
    """With 180 of 1000 non-members among them, calibrated rows had AUROC .58 and a false leak."""
    some = pd.concat([table(4, N), inputs["non_members"].iloc[:60]])
    found = audited(**inputs, samples=table(3, N), reference=some)
    (check,) = [check for check in found.result.checks if check.name == "reference overlap"]
    assert check.level == "warning"
    assert check.message.startswith("60 reference records")
    assert found.facts.known == 60
    # Standardised by the non-members' rows too, but compared with the others alone.
    scores = found.result.scores.set_index(["attack", "calibrated"])["score"]
    without = audited(**inputs, samples=table(3, N), reference=table(4, N))
    expected = without.result.scores.set_index(["attack", "calibrated"])["score"]
    for row in ("full_black_box", "none"), ("full_black_box", "difference"):
        assert np.corrcoef(scores[row], expected[row])[0, 1] > 0.98
    none = audited(**inputs, samples=table(3, N), reference=inputs["members"])
    assert none.verdict.word != "invalid"
    status = none.result.rows.set_index("attack")["status"]
    assert status["domias_kde"] == "not run: every reference record has the content of a query"
    assert set(none.result.ok["calibrated"]) == {"none"}


def test_pixels_in_another_range_are_noticed(audited: Audited) -> None:
    dark = [(digits(seed, 40).numpy() - 1) / 2 for seed in range(3)]  # in [-1, 0]
    good = audited(members=dark[0], non_members=dark[1], samples=dark[2])
    assert "range" not in {check.name for check in good.result.checks}
    with pytest.raises(UserError, match="different ranges"):
        audited(members=dark[0], non_members=dark[1], samples=dark[2] / 2 + 0.5)
    wrong = audited(
        "records.range=[-1,1]", members=dark[0], non_members=dark[1], samples=dark[2] / 2 + 0.5
    )
    assert "range" in {check.name for check in wrong.result.checks}


def test_repeated_records_are_not_asked(audited: Audited, inputs) -> None:
    twice = pd.concat([inputs["members"], inputs["members"].iloc[:30]])
    found = audited(members=twice, non_members=inputs["non_members"], samples=table(3, N))
    assert found.facts.duplicates == 60
    assert found.facts.members == N - 30


def statuses(found: Audit) -> dict[tuple[str, str], str]:
    return found.result.rows.set_index(["attack", "calibrated"])["status"].to_dict()


CANNOT = {
    "few reference records": ({"reference": table(4, 5)}, "at least 8 reference records"),
    "no common category": (
        {"reference": table(4, N).assign(age=1, income=1, smokes=False, town="east")},
        "reference records have no density",
    ),
}


@pytest.mark.parametrize("case", CANNOT)
def test_an_attack_that_cannot_run_says_why_and_the_others_stand(
    audited: Audited, inputs, case: str
) -> None:
    """Each ended the whole audit with exit code 2, and named settings that an audit lacks."""
    given, why = CANNOT[case]
    found = audited(**inputs, samples=table(3, N), **given)
    status = statuses(found)[("domias_kde", "none")]
    assert status.startswith("not run: ")
    assert why in status
    assert not {"split.reference", "bank.size"} & set(status.replace("=", " ").split())
    assert statuses(found)[("full_black_box", "difference")] == "ok"
    assert not found.verdict.failed  # as if it had not been selected
    assert any(why in text for text in found.summary()["not_tried"])
    assert "failed attack" not in {check.name for check in found.result.checks}


def test_an_attack_that_breaks_ends_neither_the_audit_nor_passes_for_a_good_one(
    audited: Audited, inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise np.linalg.LinAlgError("no\nconvergence")

    given = {**inputs, "samples": table(3, N), "reference": table(4, N)}
    monkeypatch.setattr("attacks.monte_carlo.MonteCarlo.judge", broken)
    found = audited(**given)
    assert statuses(found)[("monte_carlo_values", "none")] == "failed: no"
    assert statuses(found)[("full_black_box", "difference")] == "ok"
    assert found.verdict.word == "inconclusive"
    assert "failed attack" in {check.name for check in found.result.checks}
    assert found.summary()["verdict"] == "inconclusive"
    monkeypatch.setattr("benchmark.audit.steps._nearest_reference", broken)
    found = audited("attack=[full_black_box]", **given)
    assert statuses(found)[("full_black_box", "none")] == "ok"
    assert statuses(found)[("full_black_box", "difference")] == "failed: no"
    monkeypatch.setattr("attacks.full_black_box.NearestSample.score", broken)
    with pytest.raises(UserError, match="no attack could run: full_black_box: failed: no"):
        audited("attack=[full_black_box]", "seed=1", **given)


@pytest.mark.parametrize("reference", [None, table(4, N)])
def test_samples_that_are_all_alike_get_a_verdict(
    audited: Audited, inputs, reference: pd.DataFrame | None
) -> None:
    found = audited(**inputs, samples=table(3, 1).iloc[[0] * N], reference=reference)
    assert found.verdict.word in ("no leak found", "inconclusive")
    assert "mode collapse" in {check.name for check in found.result.checks}
    assert all(found.result.ok["auroc"].between(0.4, 0.6))


def test_sorted_records_are_no_collapse_and_a_collapse_is_one_in_any_order(
    audited: Audited, inputs
) -> None:
    """Conditional generators write class by class: the first rows are of one class."""
    samples = table(3, 10 * N)
    samples["income"] = np.where(samples["town"] == "south", 1e6, 1e3)
    records = {
        k: v.assign(income=np.where(v["town"] == "south", 1e6, 1e3)) for k, v in inputs.items()
    }
    for frame in samples, samples.sort_values(["town", "smokes", "age"]):
        found = audited("attack=[full_black_box]", **records, samples=frame)
        assert "mode collapse" not in {check.name for check in found.result.checks}
    mixed = pd.concat([samples[:100], samples.iloc[[0] * 1900]])
    found = audited("attack=[full_black_box]", **records, samples=mixed)
    assert "mode collapse" in {check.name for check in found.result.checks}


def test_index_files_pick_from_one_table(audited: Audited, tmp_path: Path) -> None:
    everything = table(0, 2 * N)
    everything.to_csv(tmp_path / "all.csv", index=False)
    np.save(tmp_path / "in.npy", np.arange(N))
    (tmp_path / "out.txt").write_text("\n".join(map(str, range(N, 2 * N))))
    samples = everything.iloc[:N]
    by_index = audited(
        data=tmp_path / "all.csv", members=tmp_path / "in.npy", non_members=tmp_path / "out.txt",
        samples=samples,
    )  # fmt: skip
    assert by_index.verdict.strongest.auroc == 1
    assert set(by_index.result.scores.loc[by_index.result.scores["member"], "id"]) == {
        str(i) for i in range(N)
    }


@pytest.fixture
def memoriser() -> tuple[torch.Tensor, torch.Tensor, Decoder]:
    members, others = digits(0, 40), digits(1, 40)
    return members, others, Decoder(members)


def test_images_with_generator_and_discriminator_run_every_attack(
    audited: Audited, memoriser
) -> None:
    members, others, generator = memoriser
    found = audited(
        "bank.size=200", "attack.white_box.max_evals=40",
        members=members.numpy(), non_members=others.numpy(), generator=generator,
        discriminator=closeness(members), reference=digits(2, 40).numpy(),
    )  # fmt: skip
    assert (found.result.rows["status"] == "ok").all()
    rows = found.result.rows.query("calibrated == 'none'").set_index("attack")
    assert rows.loc["white_box", "auroc"] > 0.9
    assert rows.loc["discriminator", "auroc"] == 1


def test_a_generator_that_never_saw_the_members_is_cleared_of_a_leak(audited: Audited) -> None:
    found = audited(
        "bank.size=200",
        members=digits(0, 40).numpy(), non_members=digits(1, 40).numpy(),
        generator=Decoder(digits(2, 40)), discriminator=closeness(digits(2, 40)),
    )  # fmt: skip
    assert found.verdict.word in ("no leak found", "inconclusive")


def test_a_second_audit_scores_nothing_again(
    audited: Audited, inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = table(3, N)
    first = audited(**inputs, samples=samples, reference=table(4, N))

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(NearestSample, "score", refuse)
    second = audited("fail_if.auroc_upper=0.5", **inputs, samples=samples, reference=table(4, N))
    pd.testing.assert_frame_equal(first.result.scores, second.result.scores)
    assert second.exit_code == 3
    others = audited(**inputs, samples=table(5, N))  # other samples are other scores
    assert statuses(others)["full_black_box", "none"] == "failed: computed again"


def test_the_written_verdict_follows_from_the_scores(
    audited: Audited, inputs, tmp_path: Path
) -> None:
    found = audited(**inputs, samples=resampled(inputs["members"], 2, N), reference=table(4, N))
    page = found.write(tmp_path / "out")
    written = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert written["verdict"] == "leak"
    assert written["auroc_lower"] == found.verdict.strongest.low
    assert len(written["attacks"]) == len(found.result.rows)
    scores = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    assert set(scores.columns) >= {"attack", "id", "member", "score"}
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.slow
def test_the_command_audits_files_and_returns_three_above_a_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.audit.page.render_audit", lambda found: "tested elsewhere")
    folder = tmp_path / "my data, (1)"
    folder.mkdir()
    table(0, N).to_csv(folder / "members.csv", index=False)
    table(1, N).to_parquet(folder / "non_members.parquet", index=False)
    table(0, N).to_csv(folder / "samples.csv.gz", index=False)
    words = [f"members={folder}/members.csv", f"non_members={folder}/non_members.parquet"]
    words += [f"samples={folder}/samples.csv.gz", f"machine.store={tmp_path}/store"]
    words += [f"hydra.run.dir={tmp_path}/out"]
    main(words)
    printed = capsys.readouterr().out
    assert printed.index("Plan:") < printed.index("AUROC")
    assert "give away" in printed
    assert (tmp_path / "out" / "index.html").exists()
    main([*words, "seed=0"])  # the same audit
    assert "page: " in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main([*words, "seed=1"])
    assert ended.value.code == 2
    assert "it holds another result" in capsys.readouterr().err
    table(2, N).to_csv(folder / "samples.csv.gz", index=False)
    with pytest.raises(SystemExit):
        main(words)
    out, err = capsys.readouterr()
    assert "it holds an audit of other records (samples has changed since)" in err
    assert "Plan:" not in out  # before any attack
    table(0, N).to_csv(folder / "samples.csv.gz", index=False)
    several = [*words, "fail_if.auroc_upper=0.6,null", "seed=0,-1", f"hydra.sweep.dir={tmp_path}/s"]
    with pytest.raises(SystemExit) as ended:
        main([*several, "attack=[full_black_box]", "-m"])
    assert ended.value.code == 3
    printed = capsys.readouterr().out
    assert "fail_if.auroc_upper: 1.000 is above 0.6" in printed
    assert re.findall(r"^\[\d\] .*: exit code (\d):", printed, re.M) == ["3", "2", "0", "2"]


def test_an_audit_starts_again_from_what_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("benchmark.audit.page.render_audit", lambda found: "tested elsewhere")
    for seed, name in enumerate(["members", "non_members", "samples"]):
        table(seed, N).to_csv(f"{name}.csv", index=False)
    words = [f"{name}={name}.csv" for name in ("members", "non_members", "samples")]
    place = f"machine.store={tmp_path}/store"
    first, second = tmp_path / "first (1)", tmp_path / "second"
    main([*words, place, "seed=3", "attack=[full_black_box]", f"hydra.run.dir='{first}'"])
    monkeypatch.chdir("/")
    again = [f"again={first}", place, f"hydra.run.dir={second}"]
    main([*again, "searched=7"])
    old, new = (yaml.safe_load((f / "config.yaml").read_text()) for f in (first, second))
    assert new == old | {"searched": 7, "again": str(first), "machine": new["machine"]}
    pd.testing.assert_frame_equal(*(pd.read_parquet(f / "scores.parquet") for f in (first, second)))
    changes = ["distance=gower", "seed=4", "attack=[full_black_box,monte_carlo_pca]"]
    for change in (changes[:2], changes):
        third = tmp_path / f"changed {len(change)}"
        main([*again, *change, f"hydra.run.dir='{third}'"])
        new = yaml.safe_load((third / "config.yaml").read_text())
        assert new["seed"] == 4
        assert new["given"] == old["given"]
        assert new["attack"]["full_black_box"]["distance"] == new["distance"] != old["distance"]
    assert new["attack"]["monte_carlo_pca"]["feature"]["seed"] == 4
    for word, line in {
        "again=/nowhere": "again=/nowhere: it cannot be read; name the folder of an audit",
        "scale=smoke": "its sizes are those of scale=laptop; leave scale out",
    }.items():
        with pytest.raises(SystemExit):
            main([*again, word])
        assert line in capsys.readouterr().err


def test_a_folder_is_not_given_another_audit_s_result(
    audited: Audited, inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.audit.page.render_audit", lambda found: "tested elsewhere")
    first = audited("attack=[full_black_box]", **inputs, samples=table(3, N))
    first.write(tmp_path)
    first.write(tmp_path)
    others = audited("attack=[full_black_box]", **inputs, samples=table(4, N))
    with pytest.raises(UserError, match="audit of other records"):  # its settings are the same
        others.write(tmp_path)
    changed = audited("attack=[full_black_box]", "seed=5", **inputs, samples=table(3, N))
    with pytest.raises(UserError, match="another result"):
        changed.write(tmp_path)


@pytest.mark.parametrize("value", ["A", None, 2.0, True])
def test_a_constant_column_reaches_a_network_as_a_number_or_is_named(
    audited: Audited, inputs, value: object
) -> None:
    given = {n: frame.drop(columns="town").assign(site=value) for n, frame in inputs.items()}
    asked = {"discriminator": lambda x: x.sum(1)}
    if isinstance(value, float | bool):
        assert len(audited("attack=[discriminator]", **given, **asked).result.ok)
    else:
        with pytest.raises(UserError, match=r"but site holds one value.*=\[site\] leaves it out"):
            audited("attack=[discriminator]", **given, **asked)


@pytest.mark.slow
def test_the_module_can_be_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmark.audit", "members=/no, file"]
    command += [f"hydra.run.dir={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
