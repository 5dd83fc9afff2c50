"""MIMIC-III from hand-made CSV files with the official columns."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from benchmark.data.dataset import read_dataset
from benchmark.data.mimic3 import Mimic3, group_of_code
from victims.errors import UserError

ADMISSIONS = """\
"ROW_ID","SUBJECT_ID","HADM_ID","ADMITTIME","DIAGNOSIS"
21,22,165315,2196-04-09 12:26:00,"BENZODIAZEPINE, OVERDOSE"
22,23,152223,2153-09-03 07:15:00,"CAD"
23,23,124321,2157-10-18 19:34:00,"BRAIN MASS"
24,9,161859,2139-06-06 16:14:00,"NOTHING CODED"
"""
DIAGNOSES = """\
"ROW_ID","SUBJECT_ID","HADM_ID","SEQ_NUM","ICD9_CODE"
1,22,165315,1,"40301"
2,22,165315,2,"E8120"
3,22,165315,3,"V4581"
4,23,152223,1,"40391"
5,23,124321,1,"E8129"
6,23,124321,2,"0389"
7,23,124321,3,"E813"
8,23,124321,4,
"""


def lay(root: Path, diagnoses: str = DIAGNOSES, packed: bool = False) -> Path:
    root.mkdir()
    for name, text in {"ADMISSIONS": ADMISSIONS, "DIAGNOSES_ICD": diagnoses}.items():
        if packed:
            (root / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (root / f"{name}.csv").write_text(text)
    return root


@pytest.mark.parametrize("packed", [False, True])
def test_one_vector_per_patient_over_all_admissions(tmp_path, packed, caplog):
    Mimic3(str(lay(tmp_path / "mimic", packed=packed))).prepare(tmp_path / "out")
    data = read_dataset(tmp_path / "out")
    assert data.facts["codes"] == ["038", "403", "E812", "E813", "V45"]
    assert data.identities.tolist() == [9, 22, 23]
    assert data.values.dtype == np.float32
    assert data.values.tolist() == [[0, 0, 0, 0, 0], [0, 1, 1, 0, 1], [1, 1, 1, 1, 0]]
    assert data.facts["rows_without_code"] == 1
    assert "5 groups of codes, MedGAN's had 1071" in caplog.text


def test_plain_and_packed_files_are_the_same_data(tmp_path):
    plain = Mimic3(str(lay(tmp_path / "plain"))).identity()
    assert Mimic3(str(lay(tmp_path / "packed", packed=True))).identity() == plain
    changed = DIAGNOSES.replace("0389", "0388")  # of the same length
    assert Mimic3(str(lay(tmp_path / "changed", changed))).identity() != plain


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("0389", "038"),
        ("25000", "250"),
        ("042", "042"),
        ("V3001", "V30"),
        ("V27", "V27"),
        ("E8120", "E812"),
        ("E812", "E812"),
        ("E9320", "E932"),
    ],
)
def test_groups(code, expected):
    assert group_of_code(code) == expected


BAD = DIAGNOSES + "9,22,165315,4,4O3\n10,22,999,1,4019\n11,23\n"


def test_unusable_rows_are_named_and_counted(tmp_path):
    source = Mimic3(str(lay(tmp_path / "mimic", BAD)))
    with pytest.raises(UserError, match="3 of 15 rows") as error:
        source.prepare(tmp_path / "out")
    for said in (
        "DIAGNOSES_ICD.csv line 10 (ICD9_CODE '4O3')",
        "line 11 (HADM_ID '999'",
        "line 12",
    ):
        assert said in str(error.value)


def test_skipping_leaves_unusable_rows_out_and_keeps_cells_out_of_the_facts(tmp_path):
    Mimic3(str(lay(tmp_path / "good"))).prepare(tmp_path / "whole")
    Mimic3(str(lay(tmp_path / "bad", BAD)), on_error="skip").prepare(tmp_path / "out")
    data = read_dataset(tmp_path / "out")
    assert np.array_equal(data.values, read_dataset(tmp_path / "whole").values)
    assert data.facts["skipped"] == 3
    assert data.facts["skipped_names"][0] == "DIAGNOSES_ICD.csv line 10"


def test_missing_file_and_column_are_named(tmp_path):
    root = lay(tmp_path / "mimic", DIAGNOSES.replace("ICD9_CODE", "CODE"))
    with pytest.raises(UserError, match=r"DIAGNOSES_ICD.csv has no column 'ICD9_CODE'"):
        Mimic3(str(root)).prepare(tmp_path / "out")
    (root / "ADMISSIONS.csv").unlink()
    with pytest.raises(UserError, match=r"ADMISSIONS.csv was not found.*physionet") as error:
        Mimic3(str(root)).identity()
    assert str(root) in str(error.value)
