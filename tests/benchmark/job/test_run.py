"""One job from config to rows: what is stored, what is made again, what is refused."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import composed, names
from omegaconf import DictConfig, OmegaConf

from attacks.discriminator import DiscriminatorScore
from attacks.full_black_box import NearestSample
from attacks.latent_search import GradientSearch
from benchmark import __main__ as program
from benchmark.job import attack, record, run
from benchmark.job.filing import Filing
from benchmark.job.request import open_request
from benchmark.measures import metrics
from benchmark.measures.columns import COLUMNS
from benchmark.quality.features import ImageNet
from benchmark.scores import scoring
from benchmark.scores.descriptors import AlexNet
from benchmark.show.page import render_job
from benchmark.store.entries import Store, plain, read_meta
from benchmark.sweep import plan
from benchmark.sweep.compose import Job
from victims.dcgan import DCGAN
from victims.errors import UserError
from victims.vae import VAE

Config = Callable[..., DictConfig]
NAMED = {column.name for column in COLUMNS}
ON_KNOWN_HALVES = {"auroc_reference", "tpr_at_1_reference"}
"""Columns that a job has only with reference=halves."""
DP = ("dp=on", "dp.epsilon=50")
BARE = ("attack=[discriminator]", "calibration=none", "quality=none", "blind=none")
"""The least that a job does."""


def entries(config: DictConfig, kind: str) -> set[str]:
    return {folder.name for folder, _ in Store(config.machine.store).find(kind)}


def test_the_table_follows_from_the_stored_scores(done: Path) -> None:
    result = run.run(composed(done))
    assert len(result.rows) == 9  # four attacks, raw and calibrated, and the blind baseline
    assert len(result.ok) == 8
    for _, row in result.ok.iterrows():
        ours = (result.scores["attack"] == row["attack"]) & (
            result.scores["calibrated"] == row["calibrated"]
        )
        scores = result.scores[ours]
        member = scores["member"].to_numpy(bool)
        values = scores["score"].to_numpy()
        assert len(scores) == row["n_members"] + row["n_non_members"]
        assert row["auroc"] == metrics.auroc(values[member], values[~member])
    assert set(result.strips) == {"full_black_box", "partial_black_box", "white_box"}
    assert result.samples is not None
    ends = {f"{name}{end}" for name in NAMED for end in ("", "_low", "_high")}
    assert set(result.rows.columns) <= ends
    assert set(result.rows.columns) >= NAMED - ON_KNOWN_HALVES


def test_a_second_run_computes_nothing(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run.run(composed(done))

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(DCGAN, "training_step", refuse)
    monkeypatch.setattr(DiscriminatorScore, "score", refuse)
    monkeypatch.setattr(GradientSearch, "reconstruct", refuse)
    monkeypatch.setattr(ImageNet, "describe", refuse)
    second = run.run(composed(done))
    assert second.quality == first.quality
    pd.testing.assert_frame_equal(first.rows, second.rows)
    pd.testing.assert_frame_equal(first.scores, second.scores)


@pytest.mark.slow
def test_copies_are_looked_for_by_what_the_config_says(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DCGAN, "training_step", lambda *_: pytest.fail("trained again"))
    for choice, by in (("pixels", "pixels"), ("features", AlexNet.by)):
        result = run.run(composed(done, f"copies={choice}"))
        assert set(result.copies["by"]) == {by}
        assert f"Records are compared by {by};" in render_job(result)


OWN = """
import numpy as np
from victims.access import FullBlackBox


class Own:
    access = FullBlackBox

    def score(self, view, queries):
        return {score}

    def reconstruct(self, view, queries):
        return -self.score(view, queries), queries
"""


@pytest.fixture
def own(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], DictConfig]:
    """Write an attack of one's own, anew at each call, and give the config of a job with it."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("benchmark.show.page.render_job", lambda result: "drawn elsewhere")

    def write(score: str, *words: str) -> DictConfig:
        (tmp_path / f"{name}.py").write_text(OWN.format(score=score))
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        bare = ["attack=[full_black_box]", "distance=l2", *BARE[1:], *words]
        settings = config(*bare)
        settings.attack = {"own": {"_target_": f"{name}.Own"}, **settings.attack}
        return settings

    return write


RENEW = "machine.renew=[own]"


def scores_of(settings: DictConfig) -> list[float]:
    found = record.obtain_record(Filing(settings), lambda: run.run(settings)).result
    ours = found.scores["attack"] == "own"
    assert (found.strips["own"].losses == -found.scores[ours]["score"].iloc[0]).all()
    return list(found.scores[ours]["score"])


def test_an_edited_attack_is_made_anew_on_demand(
    own: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scores_of(own("np.full(len(queries), 1.0)")) == [1.0] * 48
    assert scores_of(own("np.full(len(queries), 2.0)")) == [1.0] * 48
    monkeypatch.setattr(NearestSample, "score", lambda *_: 1 / 0)  # the others are not touched
    assert scores_of(own("np.full(len(queries), 2.0)", RENEW)) == [2.0] * 48
    monkeypatch.setattr(attack, "scores_under", None)  # once is enough
    assert scores_of(own("np.full(len(queries), 2.0)", RENEW)) == [2.0] * 48


def test_what_other_code_left_half_done_is_not_gone_on_with(
    own: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "chunk", lambda _: 16)
    with pytest.raises(UserError, match=r"attack.own: .* not finite"):
        run.run(own("1.0 + np.where(np.isin(queries, view.released[:1]).all(), 0, self.nan(queries))"
                    "\n\n    def nan(self, queries, seen=[]):\n        seen.append(1)\n"
                    "        return np.full(len(queries), np.nan if len(seen) > 1 else 0.0)"))  # fmt: skip
    assert scores_of(own("np.full(len(queries), 3.0)")) == [3.0] * 48


def test_a_name_that_is_no_attack_renews_nothing(own: Callable[..., DictConfig]) -> None:
    settings = own("np.full(len(queries), 1.0)")
    scores_of(settings)
    filed = Filing(settings).result
    with pytest.raises(UserError, match="there is no such attack"):
        open_request(own("np.full(len(queries), 2.0)", "machine.renew=[owm]"))
    assert Store(settings.machine.store).has("result", filed)


NOT_AN_ATTACK = {
    "access = None": "NotAnAttack.access must be the view",
    "access = FullBlackBox": "NotAnAttack has no method score",
    "__init__ = lambda self: 1 / 0": "ZeroDivisionError: division by zero (.*, line 5)",
    "import nothing_like_it": "ModuleNotFoundError: No module named 'nothing_like_it'",
}


@pytest.mark.parametrize("body", NOT_AN_ATTACK)
def test_what_is_wrong_with_an_attack_of_one_s_own_is_named(
    body: str, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["from victims.access import FullBlackBox", "", "", "class NotAnAttack:", f"    {body}"]
    name = f"own_{sha256(body.encode()).hexdigest()[:8]}"
    (tmp_path / f"{name}.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    settings = config("attack=[discriminator]")
    settings.attack = {"own": {"_target_": f"{name}.NotAnAttack"}}
    with pytest.raises(
        UserError, match=NOT_AN_ATTACK[body].replace("(", r"\(").replace("5)", r"5\)")
    ):
        open_request(settings)


def test_machine_but_for_its_precision_and_logger_enter_no_key(
    config: Config, tmp_path: Path
) -> None:
    first = config("attack=[discriminator]")
    run.run(first)
    other = config(
        "attack=[discriminator]", "machine.batch_size=7", "machine.checkpoint_every_s=0",
        "logger=wandb", "logger.mode=disabled", f"machine.store={tmp_path}/another",
        "machine.threads=1",
    )  # fmt: skip
    other.sweep = "named"
    run.run(other)
    for kind in ("data", "victim", "bank", "scores", "quality"):
        assert entries(first, kind) == entries(other, kind) != set()


def test_a_reference_model_draws_samples_where_an_attack_compares_them_only(
    config: Config,
) -> None:
    fast = ("quality=none", "blind=none", "distance=l2")
    alone = config("attack=[discriminator]", *fast)
    first = run.run(alone)
    assert len(entries(alone, "victim")) == 2
    assert len(entries(alone, "bank")) == 1  # the victim's, in which copies are looked for
    both = run.run(config("attack=[discriminator,closest_record]", *fast))
    assert len(entries(alone, "bank")) == 2
    ours = both.scores[both.scores["attack"] == "discriminator"].reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, first.scores)


@pytest.mark.slow
def test_each_precision_of_training_has_models_and_a_result_of_its_own(config: Config) -> None:
    jobs = [
        config("attack=[discriminator]", "canaries=one_run", f"machine.precision={precision}")
        for precision in ("32-true", "bf16-mixed")
    ]
    store, source = Store(jobs[0].machine.store), open_request(jobs[0]).source
    store.get("data", source.identity(), source.prepare)
    for settings in jobs:
        before = entries(settings, "victim")
        foreseen = plan.outlook(Job((), settings, {}), plan.Past(store))
        assert not foreseen.models
        run.run(settings)
        assert entries(settings, "victim") - before == {*foreseen.missing}
    assert len({Filing(settings).name for settings in jobs}) == 2
    assert Filing(jobs[0]).result != Filing(jobs[1]).result


def test_what_matters_enters_the_key(config: Config) -> None:
    base = config(*BARE)
    run.run(base)
    before = entries(base, "victim")
    for change in ("seed=1", "victim.width=6", "split.members=23", "victim.learning_rate=0.001"):
        run.run(config(*BARE, change))
        after = entries(base, "victim")
        assert len(after) == len(before) + 1, change
        before = after


def test_fewer_queries_need_no_new_victim(config: Config) -> None:
    base = config(*BARE)
    run.run(base)
    before = entries(base, "victim")
    run.run(config(*BARE, "split.queries=20"))
    assert entries(base, "victim") == before


def test_an_interrupted_attack_goes_on_where_it_stopped(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "chunk", lambda attack: 10)
    settings = config(*BARE)
    score, asked = DiscriminatorScore.score, []

    def counted(self: DiscriminatorScore, view: object, queries: np.ndarray) -> np.ndarray:
        if len(asked) == 3:
            asked.append(0)
            raise KeyboardInterrupt
        asked.append(len(queries))
        return score(self, view, queries)  # type: ignore[arg-type]

    monkeypatch.setattr(DiscriminatorScore, "score", counted)
    with pytest.raises(KeyboardInterrupt):
        run.run(settings)
    resumed = run.run(settings)
    assert sum(asked) == 48  # no query twice
    monkeypatch.undo()
    whole = run.run(config(*BARE, "machine.batch_size=9"))
    pd.testing.assert_frame_equal(resumed.scores, whole.scores)


def test_a_flipped_byte_is_noticed_and_made_again(config: Config) -> None:
    settings = config(*BARE)
    first = run.run(settings)
    ((folder, _),) = Store(settings.machine.store).find("scores")
    path = folder / "scores.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    pd.testing.assert_frame_equal(run.run(settings).scores, first.scores)


def test_provenance_stands_beside_every_entry(config: Config) -> None:
    settings = config(*BARE)
    run.run(settings)
    for kind in ("victim", "bank", "scores"):
        ((folder, _),) = Store(settings.machine.store).find(kind)
        meta = read_meta(folder)
        assert meta["config"]
        assert meta["versions"]["torch"]
        assert meta["seconds"] >= 0
        assert "git" in meta
        assert "created" in meta


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param(f"distance={name}", marks=[pytest.mark.slow] if "vgg" in name else [])
        for name in names("distance")
    ],
)
def test_every_distance_runs(config: Config, choice: str) -> None:
    few = ["split.queries=2", *BARE[1:], "attack.white_box.max_evals=4"]
    few += ["attack.partial_black_box.max_evals=4"]
    tables = ["data=randhie_mixed", "victim=vae_table", "victim.likelihood=gaussian"]
    tables += ["attack=[full_black_box,partial_black_box,white_box]"]
    more = tables if choice in ("distance=gower", "distance=standardised") else []
    result = run.run(config(choice, *few, *more))
    assert (result.rows["status"] == "ok").all()


@pytest.mark.parametrize("start", ["nearest", "zero", "random"])
def test_every_start_runs(config: Config, start: str) -> None:
    settings = ["calibration=none", "attack=[partial_black_box,white_box]", "distance=l2"]
    settings += [f"attack.{name}.start={start}" for name in ("partial_black_box", "white_box")]
    assert (run.run(config(*settings)).rows["status"] == "ok").all()


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["split.members=6000"], ["split.members=6000", "lower split.members"]),
        (["split.queries=25"], ["split.queries=25", "split.members=24"]),
        (["bank.size=3"], ["bank.size=3", "full_black_box"]),
        (["attack.white_box.start=nearby"], ["start=nearby", "nearest", "zero", "random"]),
        (["attack.white_box.max_evals=0"], ["max_evals=0"]),
        (["attack.white_box.step_size=1"], ["attack.white_box", "step_size"]),
        (["distance.net=resnet"], ["distance.net=resnet", "alex", "vgg"]),
        (["distance.lpips=-1"], ["distance.lpips=-1"]),
        (["quality.images.net=resnet"], ["quality.images.net=resnet", "alex", "vgg"]),
        (["quality.size=0"], ["quality.size=0", "quality=none"]),
        (["reference.members=25"], ["reference.members=25", "calibration=none"]),
        (["victim.steps=0"], ["victim.steps=0"]),
        (["victim.width=wide"], ["victim"]),
        (["machine.store=/dev/null/store"], ["machine.store", "/dev/null/store"]),
        (["machine.accelerator=gpu"], ["machine.accelerator=gpu", "cpu"]),
        (["machine.accelerator=tpu"], ["machine.accelerator=tpu", "'cpu' or 'gpu'"]),
        (["machine.precision=16"], ["machine.precision=16", "'32-true' or 'bf16-mixed'"]),
        (["machine.batch_size=0"], ["machine.batch_size=0"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line_before_any_training(
    config: Config, overrides: list[str], parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    composed = config()
    for override in overrides:
        OmegaConf.update(composed, override.split("=")[0], yaml_value(override), force_add=True)
    with pytest.raises(UserError) as raised:
        run.run(composed)
    message = str(raised.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    assert not list(Path(config().machine.store).glob("victim/*"))


def yaml_value(override: str) -> object:
    return OmegaConf.create(f"value: {override.split('=', 1)[1]}").value


@pytest.mark.slow
def test_the_command_prints_a_table_a_page_and_one_line_for_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["benchmark", "scale=smoke", "attack=[discriminator]"]
    words += [f"machine.store={tmp_path}/store", f"machine.outputs={tmp_path}/outputs"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as stop:
        program.command()
    assert not stop.value.code
    printed = capsys.readouterr().out
    assert "discriminator" in printed
    (page,) = tmp_path.glob("outputs/*/index.html")
    assert page.as_uri() in printed
    assert {file.name for file in page.parent.iterdir()} >= {
        "table.csv", "table.parquet", "scores.parquet", "config.yaml", "quality.json", "wandb",
    }  # fmt: skip
    monkeypatch.setattr("sys.argv", [*words, "split.queries=99"])
    with pytest.raises(SystemExit) as stop:
        program.command()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: split.queries=99")
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_sweep_of_two_processes_ends_with_its_jobs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmark", "+sweep=taxonomy", "scale=smoke", "logger=none"]
    command += ["victim=dcgan,vae", "attack=[full_black_box]", "calibration=none", "distance=l2"]
    command += [f"machine.store={tmp_path}/store", f"machine.outputs={tmp_path}/outputs", "-m"]
    command.insert(3, "machine.processes=2")  # which must end with the sweep, not minutes later
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("outputs/*_sweep/*/index.html"))) == 2
    assert "DCGAN, mnist5k" in done.stdout
    assert "VAE, mnist5k" in done.stdout


def test_a_reference_without_the_access_costs_the_calibrated_row_only(config: Config) -> None:
    both = config("attack=[discriminator,full_black_box]", "victim@reference.victim=vae")
    rows = run.run(both).rows.set_index(["attack", "calibrated"])["status"]
    assert rows["discriminator", "none"] == "ok"
    assert rows["discriminator", "difference"] == "no access to the reference models"
    assert rows["full_black_box", "difference"] == "ok"


def test_reference_models_are_as_the_victim_with_all_that_was_set_for_it(config: Config) -> None:
    own = open_request(config("victim.steps=7", "victim=wgan_gp", *DP))
    assert own.imitation.victim.settings == plain(config("victim.steps=7", "victim=wgan_gp").victim)
    assert own.imitation.dp == own.victim.dp
    assert own.victim.dp is not None
    words = ["victim.steps=7", "victim@reference.victim=vae", "reference.victim.steps=9"]
    other = open_request(config(*words, *DP, "reference.dp=null"))
    assert other.imitation.victim.settings["steps"] == 9
    assert other.imitation.victim.kind is VAE
    assert other.imitation.dp is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_gives_the_scores_of_a_cpu(config: Config) -> None:
    """The same weights: scores agree to 1e-3. Trained on the GPU as well: rounding grows to 2%."""
    settings = ["calibration=none", "distance=l2", "attack=[full_black_box,discriminator]"]
    cpu = config(*settings)
    expected = run.run(cpu).scores["score"]
    gpu = config(*settings, "machine.accelerator=gpu")
    for kinds, tolerance in [(["scores", "strip"], 1e-3), (["victim", "bank", "scores"], 2e-2)]:
        for kind in kinds:
            shutil.rmtree(Path(cpu.machine.store) / kind)
        np.testing.assert_allclose(run.run(gpu).scores["score"], expected, tolerance, tolerance)
