"""The bad-input table: each mistake is one clear line, before any attack."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from audit_models import closeness, table
from conftest import digits
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor, nn

from benchmark.audit import run as report
from benchmark.audit.__main__ import main
from benchmark.audit.given.inputs import Reading, read_input
from benchmark.audit.request import open_request
from benchmark.show.terminal import wide_console
from benchmark.store.entries import Store
from victims.errors import UserError

N = 30


class Evil:
    """A pickle that leaves a file behind when it is opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


class Files:
    """Inputs of an audit on disk; a test spoils one of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.words: dict[str, str] = {}

    def table(self, name: str, frame: pd.DataFrame) -> None:
        frame.to_csv(self.folder / f"{name}.csv", index=False)
        self.words[name] = f"{self.folder}/{name}.csv"

    def array(self, name: str, values: np.ndarray) -> None:
        np.save(self.folder / f"{name}.npy", values)
        self.words[name] = f"{self.folder}/{name}.npy"

    def images(self, name: str, images: np.ndarray) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for i, pixels in enumerate(images):
            Image.fromarray(pixels).save(folder / f"{i:03}.png")
        self.words[name] = str(folder)
        return folder

    def scripted(self, name: str, model: nn.Module) -> Path:
        path = self.folder / f"{name}.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.script(model).save(str(path))
        self.words[name] = str(path)
        return path

    def file(self, name: str, content: bytes, ending: str) -> Path:
        path = self.folder / f"{name}{ending}"
        path.write_bytes(content)
        self.words[name] = str(path)
        return path


@pytest.fixture
def tables(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    for seed, name in enumerate(("members", "non_members", "samples")):
        files.table(name, table(seed, N))
    return files


@pytest.fixture
def images(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    for seed, name in enumerate(("members", "non_members")):
        files.array(name, digits(seed, N).numpy())
    return files


@pytest.fixture
def refused(
    audit_config: Callable[..., DictConfig], capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Audit spoilt files; returns the one line that says why it cannot be done."""

    def run(files: Files, *overrides: str) -> str:
        config = audit_config("bank.size=64", *overrides)
        with pytest.raises(UserError) as raised:
            report.run_audit(open_request(config, files.words), wide_console())
        assert "Plan:" not in capsys.readouterr().out  # before any attack
        message = str(raised.value)
        assert "\n" not in message
        print(message)  # `pytest -rP` shows the whole table of messages
        return message

    return run


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("members=/no (such), file.csv", "error: members=/no (such), file.csv: there is no such"),
        ("fail_if.auroc_upper=60", "error: fail_if.auroc_upper=60: allowed are"),
        ("attack.white_box.start=there", "error: attack.white_box.start=there: input should be"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(
    tables: Files, capsys: pytest.CaptureFixture[str], word: str, line: str
) -> None:
    words = [f"{name}={path}" for name, path in tables.words.items()]
    places = [f"machine.store={tables.folder}/store", f"hydra.run.dir={tables.folder}/out"]
    with pytest.raises(SystemExit) as ended:
        main([*words, *places, word])
    printed = capsys.readouterr().err
    assert ended.value.code == 2
    assert printed.startswith(line)
    assert printed.count("\n") == 1


def changed(seed: int, **columns: Any) -> pd.DataFrame:
    return table(seed, N).assign(**columns)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([1, 2], "it holds a list; give numbers or text"),
        ({"a": 1}, "it holds a dict"),
        (1 + 2j, "it holds values that are not finite numbers"),
    ],
)
def test_cells_that_cannot_be_compared_are_named(tmp_path: Path, cell: Any, message: str) -> None:
    reading, store = Reading(), Store(tmp_path)
    with pytest.raises(UserError, match=f"column 'odd': {message}"):
        read_input("members", changed(0, odd=pd.Series([cell] * N)), reading, store)


def test_another_separator_is_named(tables: Files, refused: Callable[..., str]) -> None:
    table(0, N).to_csv(tables.words["members"], sep=";", index=False)
    assert "are its columns separated by ';'?" in refused(tables)


def test_a_column_to_ignore_has_to_be_there(tables: Files, refused: Callable[..., str]) -> None:
    assert "no input has a column named agee" in refused(tables, "records.ignore=agee")


TABLES: dict[str, tuple[str, Callable[[], pd.DataFrame], list[str], list[str]]] = {
    "column missing": ("samples", lambda: table(2, N).drop(columns="age"), [], ["samples has no column age"]),
    "text among numbers": ("members", lambda: changed(0, age=["old", *range(N - 1)]), [], ["'age'", "text in members ('old')", "records.missing"]),
    "columns of one name": ("members", lambda: changed(0, **{"age ": 1}), [], ["members", "several columns are named 'age'"]),
    "column extra": ("non_members", lambda: changed(1, zip=1), [], ["members has no column zip"]),
    "text for numbers": ("samples", lambda: changed(2, age="old"), [], ["'age'", "text in samples"]),
    "another unit": ("samples", lambda: changed(2, age=table(2, N).age * 1e6), [], ["'age'", "unit"]),
    "another range": ("samples", lambda: changed(2, age=table(2, N).age + 900), [], ["'age'", "unit"]),
    "one value": ("samples", lambda: changed(2, age=40, income=9), [], ["tell records apart?; of age, income one value was released"]),
    "all missing": ("samples", lambda: changed(2, age=np.nan, income=np.nan), [], ["of age, income one value was released"]),
    "infinite": ("samples", lambda: changed(2, age=[np.inf, *range(N - 1)]), [], ["samples, column 'age'", "finite"]),
    "no rows": ("samples", lambda: table(2, 0), [], ["samples", "no rows"]),
    "duplicate ids": ("members", lambda: changed(0, id=[1, 1, *range(2, N)]), ["records.id=id"], ["members, column 'id'", "more than once", "'1'"]),
    "unknown id column": ("members", lambda: table(0, N), ["records.id=key"], ["records.id=key", "no such column"]),
}  # fmt: skip


@pytest.mark.parametrize("case", list(TABLES))
def test_spoilt_tables(tables: Files, refused: Callable[..., str], case: str) -> None:
    name, spoilt, overrides, parts = TABLES[case]
    if case == "duplicate ids":  # the others must have the column too
        for seed, other in enumerate(("members", "non_members")):
            tables.table(other, changed(seed, id=np.arange(N)))
    tables.table(name, spoilt())
    message = refused(tables, *overrides)
    for part in parts:
        assert part in message


def test_thousands_of_categories_are_refused(tables: Files, refused: Callable[..., str]) -> None:
    for seed, name in enumerate(("members", "non_members", "samples")):
        frame = table(seed, 300)
        tables.table(name, frame.assign(town=[f"{name}{i}" for i in range(300)]))
    assert "'town' has 900 different values" in refused(tables)


@pytest.mark.parametrize("counted", [True, False])
def test_row_numbers_are_refused(tables: Files, refused: Callable[..., str], counted: bool) -> None:
    kept = np.random.default_rng(0).permutation(900)  # all rows have been in one table
    for seed, name in enumerate(("members", "non_members", "samples")):
        frame = table(seed, 300)
        frame.index = frame.index[::-1] + 7 if counted else kept[300 * seed :][:300]
        frame.to_csv(tables.folder / f"{name}.csv")
    assert "column 'Unnamed: 0' looks like row numbers" in refused(tables)


def test_another_encoding_is_named(tables: Files, refused: Callable[..., str]) -> None:
    path = tables.folder / "members.csv"
    path.write_bytes("größe\n1\n".encode("latin-1"))
    assert "the file is not UTF-8; save it in that encoding" in refused(tables)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ({"members": None}, ["members= is missing"]),
        ({"non_members": None}, ["non_members= is missing"]),
        ({"samples": None}, ["nothing to attack"]),
        ({"samples": "/nowhere.csv"}, ["samples=/nowhere.csv", "no such file"]),
        ({"non_members": "{members}"}, ["members and non_members are both"]),
        ({"generator": "nowhere:make"}, ["generator=nowhere:make", "ModuleNotFoundError"]),
        ({"generator": "/nowhere.pt"}, ["generator=/nowhere.pt", "no such file"]),
    ],
)
def test_missing_and_mistaken_paths(
    tables: Files, refused: Callable[..., str], words: dict[str, str | None], parts: list[str]
) -> None:
    given = {**tables.words}
    for name, word in words.items():
        tables.words.pop(name, None)
        if word is not None:
            tables.words[name] = word.format(**given)
    message = refused(tables)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("thresholds.small.source=''", ["thresholds.small.source", "needs a source"]),
        ("thresholds.small.value=7", ["thresholds.small", "(0, 1)"]),
        ("fail_if.auroc_upper=60", ["fail_if.auroc_upper=60", "[0, 1]"]),
        ("+fail_if.auc=0.6", ["fail_if.auc", "auroc_upper"]),
        ("searched=0", ["searched=0"]),
        ("exposed=x", ["exposed=x", "valid integer"]),
        ("show_records=x", ["show_records=x", "valid boolean"]),
        ("records.channels=5", ["records.channels=5", "1 or 3"]),
        ("records.channels=3", ["records.channels has no effect"]),
        ("records.range=[0,1]", ["records.range has no effect"]),
        ("generator.z=3", ["generator.z has no effect"]),
        ("records.decimal=x", ["records.decimal=x"]),
        ("records.dates=%Q", ["records.dates=%Q"]),
        ("records.ignore=5", ["no input has a column named 5"]),
        ("seed=-1", ["seed=-1"]),
        ("blind.folds=1", ["blind.folds=1", "greater than or equal to 2"]),
        ("attack=[white_box]", ["no attack can run", "no generator is given"]),
        ("records.categorical=[street]", ["records.categorical", "street"]),
        ("copies=features", ["copies:", "images of 1 or 3 channels only", "copies=pixels"]),
        ("copies=sscd", ["copies=sscd", "is not there", "copies.file=FILE"]),
    ],
)
def test_settings_that_make_no_sense(
    tables: Files, refused: Callable[..., str], override: str, parts: list[str]
) -> None:
    message = refused(tables, override)
    for part in parts:
        assert part in message


def test_empty_and_broken_files(tables: Files, refused: Callable[..., str]) -> None:
    tables.file("samples", b"", ".csv")
    assert "the file is empty" in refused(tables)
    tables.file("samples", b"no parquet", ".parquet")
    assert "cannot be read" in refused(tables)
    tables.file("samples", b"no array", ".npy")
    assert "damaged" in refused(tables)
    tables.file("samples", b"?", ".docx")
    assert "what kind of file" in refused(tables)


def test_index_files(tables: Files, refused: Callable[..., str]) -> None:
    tables.table("data", table(0, 2 * N))
    tables.file("members", b"0\n1\n1\n", ".txt")
    tables.file("non_members", b"5\n6\n", ".txt")
    assert "more than once, the first is '1'" in refused(tables)
    tables.file("members", b"0\n1\n400\n", ".txt")
    assert "'400'" in refused(tables)
    tables.file("members", b"\n", ".txt")
    assert "empty" in refused(tables)


def test_folders_of_images(images: Files, refused: Callable[..., str]) -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 255, (5, 8, 8), dtype=np.uint8)
    images.images("members", grey)
    images.images("non_members", grey[::-1, ::-1])
    folder = images.folder / "samples"
    folder.mkdir()
    images.words["samples"] = str(folder)
    assert "no image" in refused(images)
    images.images("samples", rng.integers(0, 255, (5, 9, 8), dtype=np.uint8))
    message = refused(images)
    assert "1x8x8" in message
    assert "1x9x8" in message
    images.images("samples", rng.integers(0, 255, (5, 8, 8, 3), dtype=np.uint8))
    assert "3x8x8" in refused(images)
    (images.images("samples", grey) / "002.png").write_bytes(b"torn")
    message = refused(images)
    assert "002.png" in message
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "002.png")
    assert "002.png (4x4 pixels" in refused(images)


def test_arrays_of_images(images: Files, refused: Callable[..., str]) -> None:
    good = digits(2, N).numpy()
    images.array("samples", good * 3)
    assert "samples: values lie in [-3, 3]" in refused(images)
    images.array("samples", good[..., :20])
    assert "1x32x20" in refused(images)
    images.array("samples", np.where(good > 0.9, np.nan, good))
    assert "samples" in refused(images)
    images.array("samples", good[:0])
    assert "shape is (0, 1, 32, 32)" in refused(images)
    images.table("samples", table(2, N))
    assert "members holds images but samples holds a table" in refused(images)


class Faulty(nn.Module):
    """A generator with one fault."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault, self.z_dim = fault, 12
        self.layer = nn.Linear(12, 32 * 32)
        self.norm = nn.BatchNorm1d(12, affine=False, track_running_stats=False)

    def forward(self, z: Tensor) -> Tensor:
        if self.fault == "batch":
            z = self.norm(z)
        x = torch.tanh(self.layer(z)).reshape(-1, 1, 32, 32)
        if self.fault == "NaN":
            x = x / torch.zeros(1)
        if self.fault == "shape":
            x = x[:, :, :20]
        if self.fault == "noise":
            x = torch.tanh(x + 0.1 * torch.randn_like(x))
        if self.fault == "range":
            x = 5 * x
        return x


FAULTS = {
    "NaN": ["8 of 8 outputs hold NaN"],
    "shape": ["(8, 1, 20, 32)", "(8, 1, 32, 32) is needed"],
    "noise": ["another output", "deterministic"],
    "batch": ["depends on what else is in the batch"],
    "range": ["generator: values lie in", "[0, 1] or [-1, 1]"],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_generators(images: Files, refused: Callable[..., str], fault: str) -> None:
    images.scripted("generator", Faulty(fault))
    message = refused(images)
    for part in FAULTS[fault]:
        assert part in message


def test_latent_codes_of_another_size(images: Files, refused: Callable[..., str]) -> None:
    images.scripted("generator", Faulty("none"))
    message = refused(images, "generator.z=7")
    assert "generator: it fails on an input of shape (8, 7)" in message
    assert "generator.prior=cauchy" in refused(images, "generator.prior=cauchy")


def test_faulty_discriminators(images: Files, refused: Callable[..., str]) -> None:
    images.scripted("discriminator", nn.Flatten())
    assert "discriminator: for 8 inputs it gives shape (8, 1024)" in refused(images)
    images.scripted("discriminator", closeness(digits(0, 5)[:, :, :20]))
    assert "discriminator: it fails on an input of shape (8, 1, 32, 32)" in refused(images)


@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_corrupt_model_files(images: Files, refused: Callable[..., str], name: str) -> None:
    whole = images.scripted(name, Faulty("none")).read_bytes()
    images.file(name, whole[: len(whole) // 2], ".pt")
    assert "damaged" in refused(images)
    middle = len(whole) // 2
    images.file(name, whole[:middle] + bytes(200) + whole[middle + 200 :], ".pt")
    assert "damaged (checksum" in refused(images)
    images.file(name, b"not a model", ".pt")
    assert "damaged or of another kind" in refused(images)
    images.file(name, b"not a model", ".onnx")
    assert "damaged" in refused(images)


@pytest.mark.parametrize("name", ["members", "samples", "generator"])
@pytest.mark.parametrize("how", ["torch", "legacy torch", "pickle"])
def test_malicious_pickles_are_refused_and_not_opened(
    images: Files, refused: Callable[..., str], name: str, how: str
) -> None:
    images.array("samples", digits(2, N).numpy())
    trace = images.folder / "trace"
    path = images.folder / ("evil.npy" if name != "generator" else "evil.pt")
    if how == "pickle" and name != "generator":
        np.save(path, np.array([Evil(trace)], dtype=object), allow_pickle=True)
    elif how == "pickle":
        path.write_bytes(pickle.dumps(Evil(trace)))
    else:
        torch.save(Evil(trace), path, _use_new_zipfile_serialization=how == "torch")
    images.words[name] = str(path)
    message = refused(images)
    assert "pickle" in message or "damaged" in message
    assert not trace.exists()
