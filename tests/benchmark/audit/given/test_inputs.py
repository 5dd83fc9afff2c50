"""Inputs are read as they are, and compared in a space that no member shapes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from audit_models import table
from conftest import digits
from PIL import Image
from scipy.spatial.distance import cdist

from attacks.mixed import Standardised
from benchmark.audit.given.columns import convert_columns
from benchmark.audit.given.inputs import Reading, Records, by_index, read_input
from benchmark.audit.given.space import ImageSpace, TableSpace, agree_on_columns
from benchmark.data.notation import Written
from benchmark.store.entries import Store
from victims.access import FullBlackBox


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def read(source: object, store: Store, **reading: object) -> Records:
    return read_input("members", source, Reading(**reading), store)  # type: ignore[arg-type]


def apart(made: TableSpace, ours: Records, theirs: Records) -> np.ndarray:
    """Squared distances of all pairs, as attacks compare mixed columns; `theirs` was released."""
    released = made.records(theirs).values
    own = Standardised().of(FullBlackBox(torch.device("cpu"), 9, released, schema=made.schema))
    scaled = [
        own.scaled(torch.from_numpy(x)).double() for x in (made.records(ours).values, released)
    ]
    return cdist(*scaled) ** 2


def kinds(made: TableSpace) -> dict[str, str]:
    return {column.name: column.kind for column in made.schema.columns}


def space(given: dict[str, pd.DataFrame], basis: str = "samples", codes: tuple[str, ...] = ()):
    tables, _ = convert_columns(given, Written(codes))
    records = {n: Records(n, np.arange(len(f)).astype(str), f) for n, f in tables.items()}
    return TableSpace(records, basis), records


@pytest.mark.parametrize("ending", ["csv", "CSV", "csv.gz", "tsv", "TSV.GZ", "PARQUET"])
def test_every_kind_of_table_reads_the_same(store: Store, tmp_path: Path, ending: str) -> None:
    frame, path = table(0, 20), tmp_path / f"t.{ending}"
    kind = ending.lower()
    if kind == "parquet":
        frame.to_parquet(path, index=False)
    else:
        packed = "gzip" if "gz" in kind else None
        frame.to_csv(path, index=False, sep="\t" if "tsv" in kind else ",", compression=packed)
    found = read(path, store, ignore=["smokes"])
    pd.testing.assert_frame_equal(
        found.table, frame.drop(columns="smokes"), check_dtype=False, rtol=1e-12
    )
    assert list(found.ids[:2]) == ["0", "1"]


def test_decimals_are_numbers(store: Store) -> None:
    found = read(table(0, 3).assign(crp=[Decimal("1.5"), Decimal("2"), Decimal("0.25")]), store)
    assert found.table["crp"].tolist() == [1.5, 2.0, 0.25]


def test_codes_are_the_same_as_whole_numbers_and_floats() -> None:
    frames = {
        "members": pd.DataFrame({"code": [7, 8]}),
        "samples": pd.DataFrame({"code": [8.0, 7.0]}),
    }
    found, records = space(frames, codes=("code",))
    assert [column.levels for column in found.schema.columns] == [("7", "8")]
    ours, theirs = (found.records(records[name]).values for name in ("members", "samples"))
    np.testing.assert_array_equal(ours, theirs[::-1])


def test_an_id_column_names_records_and_is_not_compared(store: Store) -> None:
    found = read(table(0, 3).assign(key=["a", "b", "c"]), store, id="key")
    assert list(found.ids) == ["a", "b", "c"]
    assert "key" not in found.table


LAYOUTS = {
    "uint8 (n, h, w)": lambda x: ((x[:, 0] + 1) * 127.5).round().astype(np.uint8),
    "uint8 (n, h, w, c)": lambda x: ((x.transpose(0, 2, 3, 1) + 1) * 127.5).round().astype(np.uint8),
    "[0, 1] (n, c, h, w)": lambda x: (x + 1) / 2,
    "[-1, 1] (n, c, h, w)": lambda x: x,
    "[0, 255] floats": lambda x: (x + 1) * 127.5,
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_of_images_in_every_layout(store: Store, tmp_path: Path, layout: str) -> None:
    images = digits(0, 6).numpy()
    np.savez(tmp_path / "x.npz", LAYOUTS[layout](images))
    found = read(tmp_path / "x.npz", store)
    assert found.images.values.dtype == np.float32
    np.testing.assert_allclose(found.images.values, images, atol=1 / 255 + 1e-6)


def test_a_folder_and_the_array_of_its_pixels_are_the_same(store: Store, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 9, 3), dtype=np.uint8)
    (tmp_path / "x" / "deep").mkdir(parents=True)
    for name, picture in zip(("b.png", "a.png", "deep/c.bmp"), pixels, strict=True):
        Image.fromarray(picture).save(tmp_path / "x" / name)
    found = read(tmp_path / "x", store)
    assert list(found.ids) == ["a.png", "b.png", "deep/c.bmp"]
    array = read(pixels[[1, 0, 2]], store)
    np.testing.assert_allclose(found.images.values, array.images.values, atol=1e-6)
    np.testing.assert_array_equal(found.images.digests, array.images.digests)
    grey = read(tmp_path / "x", store, channels=1)
    assert grey.images.shape == (1, 6, 9)


def test_a_folder_that_was_written_again_is_read_again(store: Store, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for level in (0, 255):  # the same name and the same size
        Image.fromarray(np.full((4, 4), level, np.uint8)).save(tmp_path / "x" / "a.bmp")
        assert read(tmp_path / "x", store).images.values[0, 0, 0, 0] == level / 127.5 - 1


def test_index_files_name_rows_files_or_ids(store: Store, tmp_path: Path) -> None:
    data = read(table(0, 5).assign(key=list("abcde")), store, id="key")
    (tmp_path / "i.txt").write_text("d\n\n a \n")
    assert list(by_index(data, "members", tmp_path / "i.txt").ids) == ["d", "a"]
    assert list(by_index(data, "members", ["b"]).ids) == ["b"]


def test_columns_are_standardised_by_the_samples_and_never_by_members() -> None:
    given = {"members": table(0, 50), "samples": table(1, 80)}
    first, records = space(given)
    encoded = first.records(records["samples"]).values
    np.testing.assert_allclose(encoded[:, :2].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(encoded[:, :2].std(0), 1, atol=1e-5)
    other = {"members": table(7, 50), "samples": table(1, 80)}
    second, again = space(other)
    np.testing.assert_array_equal(second.records(again["samples"]).values, encoded)


def test_distances_add_up_over_columns() -> None:
    given = {
        "members": pd.DataFrame({"x": [1.0, 3.0], "b": [0, 1], "c": ["u", "v"]}),
        "samples": pd.DataFrame({"x": [0.0, 4.0], "b": [1, 0], "c": ["u", "w"]}),
    }
    made, records = space(given)
    assert kinds(made) == {"x": "integer", "b": "binary", "c": "category"}
    # x in standard deviations (2) of the samples, one for another binary value or category
    expected = [[0.25 + 1 + 0, 2.25 + 0 + 1], [2.25 + 0 + 1, 0.25 + 1 + 1]]
    np.testing.assert_allclose(apart(made, *records.values()), expected, rtol=1e-6)


def test_unknown_categories_codes_and_constant_columns() -> None:
    given = {
        "members": pd.DataFrame({"zip": [1, 2, 9], "k": [1, 2, 3], "x": [0.5, 0.5, 0.5]}),
        "samples": pd.DataFrame({"zip": [1, 2, 2], "k": [5, 5, 5], "x": [0.5, 0.5, 2]}),
    }
    made, records = space(given, codes=("zip",))
    assert kinds(made) == {"zip": "category", "x": "numeric"}
    assert made.constants == {"k": 5}
    x = np.array([0, 0, 1.5**2 / 0.5])  # the deviation of 0.5, 0.5, 2 is the root of 0.5
    expected = np.array([[0, 1, 1], [1, 0, 0], [1, 1, 1]]) + x
    np.testing.assert_allclose(apart(made, *records.values()), expected, atol=1e-6)


def test_columns_in_another_order_are_the_same(store: Store) -> None:
    frame = table(0, 10)
    given = {
        "members": Records("members", np.arange(10), frame),
        "samples": Records("samples", np.arange(10), frame[frame.columns[::-1]]),
    }
    found = agree_on_columns(given)
    pd.testing.assert_frame_equal(found["samples"].table, frame)


def test_to_and_from_a_model_are_inverse_and_differentiable() -> None:
    pixels = ImageSpace((1, 2, 2), 0, 255)
    x = torch.rand(3, 1, 2, 2, dtype=torch.float64) * 2 - 1
    torch.testing.assert_close(pixels.from_model(pixels.to_model(x)), x)
    rows = pd.DataFrame({"a": [1.0, 2, 3], "k": [7.0, 7, 7], "b": [0, 1, 1]})
    made, records = space({"members": rows, "samples": rows})
    raw = torch.from_numpy(rows.to_numpy(np.float64)).requires_grad_(True)
    encoded = made.from_model(raw)
    np.testing.assert_allclose(
        encoded.detach().numpy(), made.records(records["samples"]).values, atol=1e-6
    )
    torch.testing.assert_close(made.to_model(encoded.detach()), raw.detach())
    encoded.sum().backward()
    assert raw.grad is not None
    assert raw.grad[:, 1].abs().sum() == 0  # the column that was left out
