"""Any table, and the RAND health insurance table inside statsmodels."""

from __future__ import annotations

from importlib.util import find_spec
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from conftest import built
from sklearn.preprocessing import MinMaxScaler

from benchmark.audit.given.columns import convert_columns
from benchmark.audit.given.tables import read_table
from benchmark.data import files
from benchmark.data.dataset import read_dataset
from benchmark.data.notation import Written
from benchmark.data.randhie import RandHie, RandHieMixed
from benchmark.data.table import Table
from victims.errors import UserError

TEXT = "who,age,smokes,visits\nann,30,true,0\nbob,41.5,False,3\nann,31,TRUE,1\n"


def prepared(source: Table, folder):
    source.prepare(folder)
    return read_dataset(folder)


@pytest.fixture
def numbers() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "normal": rng.normal(size=200),
            "few": rng.integers(0, 3, 200),
            "flag": rng.random(200) < 0.3,
            "same": 4,
        }
    )


def test_csv_tsv_and_parquet_are_the_same_data(tmp_path):
    (tmp_path / "t.csv").write_text(TEXT)
    (tmp_path / "t.tsv").write_text(TEXT.replace(",", "\t"))
    pd.read_csv(tmp_path / "t.csv").to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.tsv", "t.parquet"):
        data = prepared(
            Table(str(tmp_path / name), identity="who"), tmp_path / name.replace(".", "")
        )
        assert data.values.tolist() == [[30, 1, 0], [41.5, 0, 3], [31, 1, 1]]
        assert data.identities.tolist() == [0, 1, 0]
        assert data.facts["columns"] == ["age", "smokes", "visits"]
        assert data.facts["kind"] == "numeric"


def test_columns_are_chosen_and_logged(tmp_path):
    (tmp_path / "t.csv").write_text(TEXT)
    file = str(tmp_path / "t.csv")
    data = prepared(Table(file, ["visits", "age"], log=["visits"]), tmp_path / "out")
    expected = [[0, 30], [np.log(4), 41.5], [np.log(2), 31]]
    np.testing.assert_allclose(data.values, expected, rtol=1e-6)
    assert prepared(Table(file, ["visits"]), tmp_path / "counts").facts["kind"] == "counts"
    assert prepared(Table(file, ["smokes"]), tmp_path / "binary").facts["kind"] == "binary"


def test_unit_agrees_with_scikit_learn(tmp_path, numbers):
    numbers.to_csv(tmp_path / "t.csv", index=False)
    data = prepared(Table(str(tmp_path / "t.csv"), encode="unit"), tmp_path / "out")
    expected = MinMaxScaler().fit_transform(numbers.astype(float))
    np.testing.assert_allclose(data.values, expected, atol=1e-6)


def test_bins_are_exhaustive_exclusive_and_balanced(tmp_path, numbers):
    numbers.to_csv(tmp_path / "t.csv", index=False)
    data = prepared(Table(str(tmp_path / "t.csv"), encode="bins", bins=4), tmp_path / "out")
    titles = data.facts["columns"]
    assert data.facts["kind"] == "binary"
    of = {name: np.array([title.startswith(name) for title in titles]) for name in numbers.columns}
    assert {name: int(mask.sum()) for name, mask in of.items()} == {
        "normal": 4,
        "few": 3,
        "flag": 1,
        "same": 0,
    }
    assert (data.values[:, of["normal"]].sum(axis=1) == 1).all()
    assert data.values[:, of["normal"]].sum(axis=0).tolist() == [50, 50, 50, 50]
    assert np.array_equal(data.values[:, of["few"]].argmax(axis=1), numbers["few"])
    assert np.array_equal(data.values[:, of["flag"]][:, 0], numbers["flag"])


BAD = TEXT + "cat,x,true,1\ndan,20,true\neve,,true,2\nfay,inf,true,2\n"


def test_corrupt_rows_are_named_or_left_out(tmp_path):
    (tmp_path / "t.csv").write_text(BAD)
    with pytest.raises(UserError, match=r"4 of 7 rows of t.csv") as error:
        Table(str(tmp_path / "t.csv"), identity="who", gaps=False).prepare(tmp_path / "out")
    for said in ("line 5 (column 'age' is 'x')", "line 6 (3 cells under 4 columns)", "line 7"):
        assert said in str(error.value)
    source = Table(str(tmp_path / "t.csv"), identity="who", on_error="skip", gaps=False)
    data = prepared(source, tmp_path / "o")
    assert data.values[:, 0].tolist() == [30, 41.5, 31]
    assert data.identities.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"columns": ["weight"]}, "no column 'weight'; its columns are who, age"),
        ({"columns": ["age"], "log": ["visits"]}, "data.log"),
        ({"levels": {"who": ["ann"]}}, "line 3 .column 'who' is 'bob'"),
        ({"categorical": ["weight"]}, "data.categorical"),
        ({"encode": "onehot"}, "data.encode=onehot"),
        ({"encode": "bins", "bins": 1}, "data.bins=1"),
    ],
)
def test_wrong_settings_are_named(tmp_path, settings, said):
    (tmp_path / "t.csv").write_text(TEXT)
    with pytest.raises(UserError, match=said):
        built(Table, "data", file=str(tmp_path / "t.csv"), **settings).prepare(tmp_path / "out")


def test_identity_follows_content_and_settings(tmp_path):
    (tmp_path / "t.csv").write_text(TEXT)
    before = Table(str(tmp_path / "t.csv")).identity()
    (tmp_path / "t.csv").rename(tmp_path / "u.csv")
    assert Table(str(tmp_path / "u.csv")).identity() == before
    assert Table(str(tmp_path / "u.csv"), encode="unit").identity() != before
    (tmp_path / "u.csv").write_text(TEXT.replace("31", "32"))
    assert Table(str(tmp_path / "u.csv")).identity() != before


def test_only_a_table_that_misses_cells_says_what_stands_for_them(tmp_path):
    """Else results of a complete table would have to be made again."""
    (tmp_path / "t.csv").write_text(TEXT)
    assert "missing" not in Table(str(tmp_path / "t.csv"), gaps=False).identity()
    for text, found in (("a,b\n1,2\n", False), ("a,b\n1, \n", True), ("a,b\n?,2\n", True)):
        (tmp_path / "t.csv").write_text(text)
        assert ("missing" in Table(str(tmp_path / "t.csv")).identity()) == found
    assert ("missing" in Table(str(tmp_path / "t.csv"), missing=["2"]).identity()) is True
    (tmp_path / "t.csv").write_text(",a,b\n0,1,2\n")  # as pandas writes an index
    assert "missing" not in Table(str(tmp_path / "t.csv")).identity()


def test_an_identity_reads_its_file_once(tmp_path, monkeypatch):
    """A stored result needs the identity and nothing else: it must not wait for a long table."""
    monkeypatch.setenv("GAN_LEAKS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "SETTLED_S", -60.0)
    (tmp_path / "t.csv").write_text("a,b\n1,\n")
    first = Table(str(tmp_path / "t.csv")).identity()
    monkeypatch.setattr(files, "open_binary", None)
    assert Table(str(tmp_path / "t.csv")).identity() == first


@pytest.mark.skipif(find_spec("statsmodels") is None, reason="statsmodels is not installed")
def test_randhie_is_real_records_with_people(tmp_path):
    data = prepared(RandHie(), tmp_path / "out")
    assert data.values.shape == (20185, 28)
    assert data.values.min() == 0
    assert data.values.max() == 1
    reference = pd.read_csv(RandHie().find_file()).dropna(subset=["educdec", "mdeoff", "pioff"])
    assert len(np.unique(data.identities)) == reference["zper"].nunique()
    column = data.facts["columns"].index("mdvis")
    logged = np.log1p(reference["mdvis"].to_numpy())
    np.testing.assert_allclose(data.values[:, column], logged / logged.max(), atol=1e-6)
    binary = prepared(RandHie("bins"), tmp_path / "bins")
    assert set(np.unique(binary.values)) == {0, 1}
    assert np.array_equal(binary.identities, data.identities)


def test_randhie_without_statsmodels_names_the_package(monkeypatch):
    monkeypatch.setattr("benchmark.data.randhie.find_spec", lambda name: None)
    with pytest.raises(UserError, match="install the package statsmodels"):
        RandHie().identity()


@pytest.mark.parametrize("column", [1_700_000_000 + np.arange(100), [*range(99), 1e39]])
def test_columns_that_float32_cannot_hold_are_refused(tmp_path, column):
    pd.DataFrame({"t": column}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UserError, match="column 't' holds numbers that float32 cannot tell apart"):
        Table(str(tmp_path / "t.csv")).prepare(tmp_path / "out")
    if column[-1] < 1e39:
        data = prepared(Table(str(tmp_path / "t.csv"), encode="unit"), tmp_path / "unit")
        assert len(np.unique(data.values)) == 100


@pytest.mark.parametrize("ending", ["CSV", "csv.zip", "PARQUET", "feather"])
def test_every_ending_and_blanks_around_cells(tmp_path, ending):
    file, frame = tmp_path / f"t.{ending}", pd.DataFrame({"a": [1.5, 2], "b": [3.0, 4]})
    if "csv" in ending.lower():
        text = "a, b\n1.5, 3\n2, 4\n"
        file.write_text(text)
        if ending.endswith("zip"):
            with ZipFile(file, "w") as archive:
                archive.writestr("t.csv", text)
    else:
        getattr(frame, f"to_{ending.lower()}")(file)
    assert prepared(Table(str(file)), tmp_path / "out").values.tolist() == [[1.5, 3], [2, 4]]


FORMS = (
    "day;amount;rate;seen;code;band\n31/01/2020;1.550,25;12,5%;NA;007;[0, 10)\n"
    "1/2/2020;7,5;0%;2;012;[10, 20)\n?;(3);2,5%;none;007;[0, 10)\n"
)


def test_cells_are_written_as_audits_take_them(tmp_path):
    (tmp_path / "t.tsv").write_text(FORMS.replace(";", "\t"))
    data = prepared(Table(str(tmp_path / "t.tsv"), missing=["none"]), tmp_path / "out")
    back = data.schema.table_of_rows(data.values)
    np.testing.assert_allclose(back["day"], [18292, 18293, np.nan])
    np.testing.assert_allclose(back["amount"], [1550.25, 7.5, -3])
    np.testing.assert_allclose(back["rate"], [12.5, 0, 2.5])
    np.testing.assert_allclose(back["seen"], [np.nan, 2, np.nan])
    np.testing.assert_allclose(back["band"], [5, 15, 5])
    assert back["code"].tolist() == ["007", "012", "007"]
    read, _ = convert_columns(
        {"members": read_table("members", tmp_path / "t.tsv")}, Written(missing=["none"])
    )
    pd.testing.assert_frame_equal(back, read["members"], check_dtype=False)
    assert data.facts["written"]["day"] == "dates written %d/%m/%Y (in days; data.dates)"
    assert set(data.facts["written"]) == {"day", "amount", "rate", "band"}


def test_dates_of_parquet_are_days(tmp_path):
    days = pd.to_datetime(["1970-01-02", None, "2020-01-31"])
    pd.DataFrame({"day": days, "n": [1, 2, 3]}).to_parquet(tmp_path / "t.parquet")
    data = prepared(Table(str(tmp_path / "t.parquet")), tmp_path / "out")
    assert data.schema.columns[0].kind == "integer"
    assert data.schema.columns[0].gaps
    assert data.values.tolist() == [[1, 0, 1], [0, 1, 2], [18292, 0, 3]]


def test_columns_are_found_by_their_names_and_none_twice(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("A,a,b\n1,2,3\n4,5,6\n")
    assert prepared(Table(str(file)), tmp_path / "out").values.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert prepared(Table(str(file), ["B"]), tmp_path / "b").values.tolist() == [[3], [6]]
    file.write_text("a,a,b\n1,2,3\n4,5,6\n")
    with pytest.raises(UserError, match="2 columns are named 'a'; rename all but one"):
        Table(str(file)).prepare(tmp_path / "two")


def test_a_column_that_is_infinite_throughout_is_no_category(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\ninf,1\ninf,2\n")
    with pytest.raises(UserError, match=r"2 of 2 rows of t\.csv cannot be used"):
        Table(str(tmp_path / "t.csv")).prepare(tmp_path / "out")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_durations_are_days_as_in_audits(tmp_path, ending):
    frame = pd.DataFrame({"stay": pd.to_timedelta(["36h", None, "-1h"]), "n": [1, 2, 3]})
    file = tmp_path / f"t.{ending}"
    frame.to_csv(file, index=False) if ending == "csv" else frame.to_parquet(file)
    data = prepared(Table(str(file)), tmp_path / "out")
    back = data.schema.table_of_rows(data.values)
    np.testing.assert_allclose(back["stay"], [1.5, np.nan, -1 / 24], rtol=1e-6)
    assert data.facts["written"] == {"stay": "durations (in days)"}
    audited, _ = convert_columns({"members": read_table("members", file)}, Written())
    np.testing.assert_allclose(audited["members"]["stay"], back["stay"], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("a\n1/2/2020\n3/4/2020\n", {}, "data.dates=%d/%m/%Y says which"),
        ("a\n2020-01-31\n2020-02-01\nsoon\n", {}, r"data.missing=\[soon\]"),
        ("a\tb\n1,5\t1.5\n", {}, r"data.decimal='\.' or ','"),
        ("a\n950\n1.234\n", {}, "data.decimal=','. reads thousands"),
        ("a\n$5\n3\n7%\n", {}, r"data.categorical=\[a\]"),
        ("a\n1 days\n3\n", {}, "durations .* and plain numbers"),
        ("a\n1\n", {"dates": "%Q"}, "data.dates=%Q: it is no format"),
        ("a;b\n1,5;2\n", {}, "are its columns separated by ';'"),
        ("a\n1\n", {"decimal": ";"}, "data.decimal"),
    ],
)
def test_what_may_mean_two_things_is_refused(tmp_path, text, settings, said):
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(UserError, match=said):
        built(Table, "data", file=str(tmp_path / "t.tsv"), **settings).prepare(tmp_path / "out")


def test_advice_on_what_is_written_works_and_enters_the_identity(tmp_path):
    (tmp_path / "t.tsv").write_text("a\tb\n1/2/1970\t1,550\n3/2/1970\t2\n")
    source = Table(str(tmp_path / "t.tsv"), dates="%d/%m/%Y", decimal=",")
    found = prepared(source, tmp_path / "out").values
    np.testing.assert_allclose(found, [[31, 1.55], [33, 2]])
    other = Table(str(tmp_path / "t.tsv"), dates="%m/%d/%Y", decimal=".")
    assert prepared(other, tmp_path / "other").values.tolist() == [[1, 1550], [60, 2]]
    assert source.identity() != other.identity()


def test_what_a_file_of_excel_needs_is_said(tmp_path):
    (tmp_path / "t.xlsx").write_bytes(b"no file of Excel")
    with pytest.raises(UserError, match=r"openpyxl|cannot be read"):
        Table(str(tmp_path / "t.xlsx")).prepare(tmp_path / "out")


MIXED = "city,age,smokes,income,code\nRome,30,1,5.5,007\n,41,0,,012\nOslo,,1,7.25,007\nRome,35,0,NA,012\n"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_of_every_kind_go_to_records_and_back(tmp_path, ending):
    (tmp_path / "t.csv").write_text(MIXED)
    if ending == "parquet":
        frame = pd.read_csv(tmp_path / "t.csv", dtype={"code": str})
        frame.to_parquet(tmp_path / "t.parquet")
    data = prepared(Table(str(tmp_path / f"t.{ending}"), encode="unit"), tmp_path / "out")
    assert [c.kind for c in data.schema.columns] == [
        *("category", "integer", "binary", "numeric", "category"),
    ]
    assert data.schema.columns[0].levels == ("", "Oslo", "Rome")
    assert data.shape == (3 + 2 + 1 + 2 + 2,)
    assert data.facts["kind"] == "mixed"
    assert set(data.facts["measured"]) == {"city", "age", "income", "code"}
    back = data.schema.table_of_rows(data.values)
    assert back["city"].tolist() == ["Rome", "", "Oslo", "Rome"]
    assert back["code"].tolist() == ["007", "012", "007", "012"]
    np.testing.assert_array_equal(back["age"], [30, 41, np.nan, 35])
    np.testing.assert_allclose(back["income"], [5.5, np.nan, 7.25, np.nan], rtol=1e-6)
    np.testing.assert_array_equal(data.schema.rows_of_table(back), data.values)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,\n2,\n", "column 'b' is missing in every row"),
        ("a,b\n" + "".join(f"1,word{i}\n" for i in range(501)), "column 'b' has 501 different"),
    ],
)
def test_columns_that_say_nothing_are_refused(tmp_path, text, said):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        Table(str(tmp_path / "t.csv")).prepare(tmp_path / "out")


@pytest.mark.skipif(find_spec("statsmodels") is None, reason="statsmodels is not installed")
def test_randhie_mixed_has_columns_of_every_kind(tmp_path):
    data = prepared(RandHieMixed(), tmp_path / "out")
    reference = pd.read_csv(RandHieMixed().find_file())
    assert len(data.values) == len(reference) == 20190
    kinds = {c.name: c.kind for c in data.schema.columns}
    assert {"numeric", "integer", "binary", "category"} == set(kinds.values())
    back = data.schema.table_of_rows(data.values)
    assert back["plan"].astype(int).tolist() == reference["plan"].tolist()
    for column in ("inpdol", "ghindx", "mdvis", "income"):
        np.testing.assert_allclose(back[column], reference[column], rtol=1e-4, atol=1e-2)
    assert "measured" in data.facts  # that numbers are missing
