import json
import logging
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import built
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from wandb.proto import wandb_internal_pb2

from benchmark.show.tracking import NoLogger, WandbLogger
from victims.errors import UserError

CONF = Path(__file__).parents[3] / "conf"


def records(folder: Path) -> list[wandb_internal_pb2.Record]:
    """All records of the only offline run under a folder.

    On a busy machine W&B's own process writes some of them after `finish` has returned.
    """
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    for _ in range(100):
        found = [wandb_internal_pb2.Record.FromString(part) for part in payloads(path.read_bytes())]
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        time.sleep(0.1)
    raise AssertionError(f"{path} does not end")


def payloads(log: bytes) -> Iterator[bytes]:
    """The messages in a LevelDB log, which W&B opens with 7 bytes of its own.

    Blocks of 32 KiB hold chunks of crc (4 bytes), length (2), type (1), data; a message that
    crosses a block comes in several chunks, the last of type 4 (a single one is of type 1). A tail
    under 7 bytes is padding.
    """
    assert log[:4] == b":W&B"
    position, message = 7, b""
    while position + 7 <= len(log):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", log, position)
        message += log[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            yield message
            message = b""


def items(parts) -> dict:
    """Key-value items of a record; W&B writes a dictionary as one item per leaf."""
    found: dict = {}
    for item in parts:
        *path, last = item.nested_key or [item.key]
        leaf = found
        for key in path:
            leaf = leaf.setdefault(key, {})
        leaf[last] = json.loads(item.value_json)
    return found


def history(folder: Path) -> dict:
    found = [
        items(r.history.item) for r in records(folder) if r.WhichOneof("record_type") == "history"
    ]
    return {key: value for part in found for key, value in part.items()}


def summary(folder: Path) -> dict:
    found = [items(r.summary.update) for r in records(folder) if r.HasField("summary")]
    return {key: value for part in found for key, value in part.items()}


@pytest.fixture
def logged(result, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    WandbLogger(group="taxonomy").log(result, tmp_path)
    return tmp_path


def test_offline_run_holds_the_table_and_everything_else(result, logged):
    parts = history(logged)
    files = next(logged.glob("wandb/offline-run-*/files"))
    table = json.loads((files / parts["table"]["path"]).read_text())
    assert table["columns"] == list(result.rows.columns)
    for cells, (_, row) in zip(table["data"], result.rows.iterrows(), strict=True):
        record = dict(zip(table["columns"], cells, strict=True))
        assert (record["attack"], record["status"]) == (row["attack"], row["status"])
        if row["status"] == "ok":
            assert record["auroc"] == pytest.approx(row["auroc"], abs=1e-12)
            assert record["tpr_at_10"] == pytest.approx(row["tpr_at_10"], abs=1e-12)
    for picture in ("roc", "roc_log", "samples"):
        assert (files / parts[picture]["path"]).stat().st_size > 500

    scalars = summary(logged)
    assert scalars["auroc/white_box"] == pytest.approx(result.rows["auroc"][3])
    assert scalars["auroc/full_black_box+reference"] == pytest.approx(result.rows["auroc"][1])
    assert "auroc/accessible_encoder" not in scalars
    for name in ("Frechet distance (AlexNet)", "precision, untrained", "parameters"):
        assert scalars[f"quality/{name}"] == pytest.approx(result.quality[name])

    run = next(r.run for r in records(logged) if r.WhichOneof("record_type") == "run")
    assert (run.run_group, run.project, run.display_name) == ("taxonomy", "gan-leaks", result.title)
    config = items(run.config.update)
    assert {key: config[key] for key in result.config} == result.config
    assert config["provenance"] == result.provenance


def test_a_report_s_tables_and_files_are_one_run(tmp_path):
    files = tmp_path / "results"
    (files / "taxonomy").mkdir(parents=True)
    (files / "taxonomy" / "auroc.svg").write_text("<svg/>")
    table = pd.DataFrame({"victim": ["dcgan"], "auroc": [0.75]})
    WandbLogger().log_report({"taxonomy": table}, files, tmp_path)
    run = next(r.run for r in records(tmp_path) if r.WhichOneof("record_type") == "run")
    assert (run.job_type, run.run_group) == ("report", "taxonomy")
    assert history(tmp_path)["taxonomy"]["nrows"] == 1
    artifacts = [
        r.request.log_artifact.artifact for r in records(tmp_path) if r.HasField("request")
    ]
    artifacts += [
        r.artifact for r in records(tmp_path) if r.WhichOneof("record_type") == "artifact"
    ]
    paths = {entry.path for one in artifacts for entry in one.manifest.contents}
    assert "taxonomy/auroc.svg" in paths


def test_each_job_is_a_run_of_its_own_and_quiet(result, tmp_path, capfd):
    logger = WandbLogger(dir=str(tmp_path / "runs"))
    logger.log(result, tmp_path / "a")
    logger.log(result, tmp_path / "b")
    assert len(list((tmp_path / "runs" / "wandb").glob("offline-run-*"))) == 2
    out = capfd.readouterr()
    assert (out.out, out.err) == ("", "")


def test_job_without_any_result_is_logged(empty, tmp_path, caplog):
    WandbLogger().log(empty, tmp_path)
    assert "benchmark.show.tracking" not in {record.name for record in caplog.records}
    assert history(tmp_path)["table"]["nrows"] == len(empty.rows)


def test_unreachable_server_is_a_warning_within_bounds(result, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    start = time.perf_counter()
    with caplog.at_level(logging.WARNING, "benchmark.show.tracking"):
        WandbLogger(mode="online", timeout=1).log(result, tmp_path)
    assert time.perf_counter() - start < 20
    assert "W&B (mode online)" in caplog.text


def test_unwritable_folder_is_a_warning(result, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    WandbLogger().log(result, tmp_path / "file")
    assert "W&B (mode offline) logged nothing" in caplog.text


def test_disabled_and_none_write_nothing(result, tmp_path):
    WandbLogger(mode="disabled").log(result, tmp_path)
    NoLogger().log(result, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unknown_mode_names_the_setting_its_value_and_the_choices():
    with pytest.raises(
        UserError, match=r"logger\.mode=dryrun: input should be 'offline', 'online' or"
    ):
        built(WandbLogger, "logger", mode="dryrun")


def test_runs_may_be_kept_below_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert WandbLogger(dir="~/runs").dir == tmp_path / "runs"


@pytest.mark.parametrize(("choice", "kind"), [("wandb", WandbLogger), ("none", NoLogger)])
def test_config_builds_the_logger(choice, kind):
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", [f"logger={choice}", "+sweep=taxonomy"])
    logger = instantiate(config.logger)
    assert isinstance(logger, kind)
    if kind is WandbLogger:
        assert (logger.mode, logger.group, logger.dir) == ("offline", "taxonomy", None)
