"""Sweeps: they compose, say what they are going to do, go on past a failure, and say what became
of them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Shared, names
from omegaconf import DictConfig

from benchmark import __main__ as program
from benchmark.job import record
from benchmark.job import run as job
from benchmark.measures.result import JobResult
from benchmark.store.entries import Store
from benchmark.store.keys import settings
from benchmark.sweep import compose, plan
from benchmark.sweep.compose import Job
from victims.errors import UserError

OF_OTHERS = {"all", "reference", "victims"}
"""Sweeps that have no jobs but those of other sweeps."""

APART = {"ranking", "replicate_hilprecht", "replicate_matsumoto"}
"""Sweeps that are no study of `all`: for entries of one's own, or with data that not all have."""


REFERENCE = ["taxonomy", "train_size", "tables", "diffusion", "privacy"]
TABLES = ("+sweep=tables", "scale=smoke")
CHEAP = ("attack=[discriminator]", "calibration=none")
Command = Callable[..., int]


@pytest.fixture
def fixed(tmp_path: Path) -> list[str]:
    places = [f"machine.store={tmp_path}/store", f"machine.outputs={tmp_path}/outputs"]
    return ["scale=smoke", "logger=none", "machine.progress=false", *places]


@pytest.fixture
def command(fixed: list[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `python -m benchmark` with these words in this process; gives the exit code."""

    def run(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["benchmark", *fixed, "distance=l2", *words])
        with pytest.raises(SystemExit) as stop:
            program.command()
        return int(stop.value.code or 0)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*names("sweep")} - OF_OTHERS))
@pytest.mark.parametrize("scale", ["laptop", "paper"])  # those at smoke scale run, see below
def test_every_sweep_composes(name: str, scale: str) -> None:
    jobs = compose.list_jobs([f"+sweep={name}", f"scale={scale}", "seed=0"])
    assert jobs
    assert {job.config.sweep for job in jobs} == {name}


def test_a_job_s_config_is_the_one_that_hydra_composes(config: Callable[..., DictConfig]) -> None:
    words = ["+sweep=initialisation", "scale=smoke", "split.members=20", "attack=[white_box]"]
    jobs = compose.list_jobs([*words, "distance=l2,lpips_alex", "seed=0,1"])
    assert len(jobs) == 24
    for one in (jobs[0], jobs[-1]):
        assert settings(one.config) == settings(config(*one.words))


def test_what_one_part_of_a_sweep_sets_the_next_one_has_not() -> None:
    with compose._composing_sweep():
        first, second = (compose._compose_config(words) for words in (["machine.threads=3"], []))
    assert (first.machine.threads, second.machine.threads) == (3, None)


@pytest.mark.slow
def test_each_study_of_a_sweep_has_the_command_line_that_runs_it_alone() -> None:
    found = compose.parts_and_jobs(["+sweep=reference", "scale=smoke", "seed=0"])
    lines = {tuple(part.study): part.name for part, _ in found}
    assert [*dict.fromkeys(lines.values())] == REFERENCE
    whole = Counter((part.name, job.filing.name) for part, own in found for job in own)
    alone = Counter(
        (name, job.filing.name) for line, name in lines.items() for job in compose.list_jobs(line)
    )
    assert alone == whole
    assert all(
        part.words == part.study == ["victim=vae"]
        for part in compose.parts_of_sweep(["victim=vae"])
    )


@pytest.mark.parametrize("name", ["privacy", "tables", "train_size"])
def test_the_command_of_a_job_runs_that_job_and_no_other(name: str) -> None:
    for wanted in compose.list_jobs([f"+sweep={name}", "scale=smoke"]):
        (found,) = compose.list_jobs(shlex.split(wanted.command)[3:-1])
        assert found.filing.name == wanted.filing.name


@pytest.mark.slow
def test_all_holds_every_other_sweep() -> None:
    lines = [part.words for part in compose.parts_of_sweep(["+sweep=all", "scale=smoke", "seed=7"])]
    found = {word.removeprefix("+sweep=") for line in lines for word in line}
    assert found >= {*names("sweep")} - OF_OTHERS - APART
    assert all("seed=7" in line for line in lines)


def test_values_that_belong_together_stay_together() -> None:
    pairs = [(job.choices["data"], job.choices["victim"]) for job in compose.list_jobs(TABLES)]
    assert pairs == [
        ("randhie_binary", "medgan"), ("randhie_binary", "vae_table"),
        ("randhie", "wgan_gp_table"), ("randhie", "vae_table"),
        ("randhie_mixed", "tvae"), ("randhie_mixed", "ctgan"),
    ]  # fmt: skip


@pytest.mark.slow
def test_each_part_of_a_sweep_has_a_folder_of_its_own(command: Command, tmp_path: Path) -> None:
    """Their jobs are all numbered from 0: in one folder the second part met the first's results."""
    words = [*TABLES, *CHEAP, "victim=vae_table", "attack=[full_black_box]", "split.queries=4"]
    assert command(*words, f"hydra.sweep.dir={tmp_path}/out", "-m") == 0
    parts = sorted(folder.name for folder in (tmp_path / "out").iterdir())
    assert parts == [f"part-{i + 1}" for i in range(len(parts))]
    assert len(parts) > 1
    assert all((tmp_path / "out" / part / "0" / "index.html").exists() for part in parts)


def test_what_is_asked_for_by_hand_replaces_a_part_s_value() -> None:
    jobs = compose.list_jobs([*TABLES, "data=mnist5k"])
    assert [job.choices["data"] for job in jobs] == ["mnist5k"] * 6


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["+sweep=ranking", "victim=vae,dcgan"], [{"vae", "dcgan"}]),
        (["+sweep=ranking", "victim=vae,ddpm"], [{"vae"}, {"ddpm"}]),
        (["+sweep=ranking", "victim=pggan,vae"], [{"pggan", "vae"}, {"pggan"}]),
        (["+sweep=ranking", "victim=pggan", "attack=[encoder]"], [{"pggan"}]),
        (["+sweep=tables", "data=randhie"], [{"wgan_gp_table"}, {"vae_table"}]),
        (["+sweep=diffusion", "victim=dcgan"], [{"dcgan"}]),
    ],
)
def test_a_part_runs_what_it_names_of_the_choices_given_by_hand(
    words: list[str], wanted: list[set[str]]
) -> None:
    """An attack on a DDPM was run on the VAE too, and a job that two parts share was listed twice."""
    parts = compose.parts_and_jobs([*words, "scale=smoke", "seed=0"])
    assert [{job.choices["victim"] for job in jobs} for _, jobs in parts] == wanted


def test_choices_of_which_no_part_has_all_are_an_error() -> None:
    words = [*TABLES, "data=randhie", "victim=medgan"]
    with pytest.raises(UserError, match=r"victim=medgan: no part .* study\.parts=\[\]"):
        compose.list_jobs(words)
    assert len(compose.list_jobs([*words, "study.parts=[]"])) == 1


@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        ("victim=dcgan,nowhere", "nowhere"),
        ("scale.name=smoke,nowhere", "nowhere"),
        ("machine.processes=0", "machine.processes=0: input should be greater than 0"),
        ("machine.renew=[encodr]", "machine.renew=['encodr']: there is no such attack"),
    ],
)
def test_a_job_that_makes_no_sense_is_an_error_before_anything_starts(
    command: Command, capsys: pytest.CaptureFixture[str], mistake: str, named: str
) -> None:
    assert command(*CHEAP, mistake, "-m") == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert named in err
    assert not out


@pytest.mark.usefixtures("without_pages")
def test_the_plan_counts_what_is_stored_and_starts_nothing(
    command: Command,
    fixed: list[str],
    tmp_path: Path,
    result: JobResult,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*CHEAP, "seed=0,1", "distance=l2"]
    first, second = compose.list_jobs([*fixed, *words])
    record.obtain_record(first.filing, lambda: result)
    assert command(*words, "plan=true", "-m") == 0
    out = capsys.readouterr().out
    assert "2 jobs, 1 with a result; of the 1 models of the others 0 are stored" in out
    assert "unknown for 2 trainings and attacks that were never run here" in out
    assert not (tmp_path / "store" / "victim").exists()
    assert command(*CHEAP, "seed=1", "plan=true") == 0
    assert "1 job, 0 with a result" in capsys.readouterr().out
    assert not (tmp_path / "store" / "victim").exists()

    job.run(second.config)
    store = Store(tmp_path / "store")
    ahead = plan.outlook(second, plan.Past(store))
    assert (len(ahead.models), len(ahead.missing)) == (1, 0)
    ((_, trained),) = store.find("victim")
    ((_, attacked),) = store.find("scores")
    np.testing.assert_allclose(ahead.seconds, [attacked["seconds"]])
    (blueprint,) = ahead.models.values()
    assert plan.Past(store).model(blueprint) == trained["seconds"]
    (quantiles,) = compose.list_jobs([*fixed, *words, "calibration=[quantile]", "seed=1"])
    (more,) = plan.outlook(quantiles, plan.Past(store)).seconds
    strangers = quantiles.config.split.reference / (2 * quantiles.config.split.queries)
    assert more == pytest.approx(attacked["seconds"] * (1 + strangers))


def test_the_plan_says_which_job_cannot_work(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*CHEAP, "seed=x,0", "plan=true", "-m") == 1
    out = capsys.readouterr().out
    assert "seed=x: input should be a valid integer" in out
    assert out.count("to do") == 1


def test_the_plan_knows_what_does_not_suit_stored_data(
    config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    store, table = Store(tmp_path / "store"), ["data=randhie_binary", "victim=medgan"]
    job.run(config(*table, *CHEAP, "distance=l2"))

    def state(*words: str) -> str:
        return plan.outlook(Job((), config(*table, *words), {}), plan.Past(store)).state

    assert state("attack=[full_black_box]").startswith("LPIPS compares images")
    online = "attack=[discriminator]", "calibration=[lira_online]"
    assert "choose reference=halves" in state(*online)


def test_a_single_job_is_not_run_here_in_the_cluster_s_place(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command(*CHEAP, "machine=slurm") == 2
    assert "jobs are submitted with -m or +sweep=NAME only" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@pytest.mark.usefixtures("without_pages")
def test_a_sweep_goes_on_past_a_failed_job_and_says_so(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*CHEAP, "split.queries=99,20", "-m") == 1
    out = capsys.readouterr().out
    assert "1 of 2 jobs have a result" in out
    for column in ("Frechet distance (AlexNet)", "parameters", "trained in"):
        assert column in " ".join(out.split())
    (again,) = [line.split("again: ")[1] for line in out.splitlines() if "again: " in line]
    assert "split.queries=99" in again
    ((_, failed),) = Store(tmp_path / "store").find("failed")
    assert failed["config"]["split"]["queries"] == 99
    # The command as printed fails alone in the same way; with room for the queries it succeeds.
    words = shlex.split(again)[3:]
    assert command(*words) == 1
    assert command(*(word.replace("=99", "=21") for word in words)) == 0


def test_parts_run_one_after_the_other(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[DictConfig] = []
    monkeypatch.setattr(program, "_job", done.append)
    assert command("+sweep=tables", "-m") == 1  # nothing leaves a result
    assert [config.victim._target_.split(".")[1] for config in done] == [
        "medgan", "vae", "wgan_gp", "vae", "tvae", "ctgan",
    ]  # fmt: skip
    out = capsys.readouterr().out
    assert "6 jobs, 0 with a result" in out[: out.index("2 jobs, 0 with a result")]


def test_a_single_part_is_run_as_it_says(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[DictConfig] = []
    monkeypatch.setattr(program, "_job", done.append)
    assert command("+sweep=tables", "study.parts=[{victim: tvae}]", "data=randhie_mixed", "-m") == 1
    assert [config.victim._target_ for config in done] == ["victims.tvae.TVAE"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*names("sweep")} - OF_OTHERS))
def test_every_sweep_runs_at_smoke_scale(
    command: Command,
    name: str,
    capsys: pytest.CaptureFixture[str],
    shared: Shared,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All in one store, as +sweep=all: what two of them have in common is done once.

    Figures are drawn for tables, and for one job of images elsewhere: they take half of the time.
    """
    if name != "tables":
        monkeypatch.setattr("benchmark.show.figures.inline_svg", lambda figure, prefix: "")
    given = {
        "distance": ["distance=l2,lpips_alex"],
        "taxonomy": ["victim=dcgan,vae"],
        "quality": ["victim=dcgan,vae"],
        "ranking": ["victim=vae,ddpm", "seed=0"],
        "train_size": ["victim=dcgan,vae"],
    }
    store = f"machine.store={shared('store of all sweeps', lambda folder: None)}"
    assert command(f"+sweep={name}", store, *given.get(name, []), "-m") == 0
    out = capsys.readouterr().out
    assert "failed" not in out
