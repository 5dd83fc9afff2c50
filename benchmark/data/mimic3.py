"""MIMIC-III: one binary vector of diagnosis codes per patient."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.dataset import write_records
from benchmark.data.files import Faults, OnError, columns_of, csv_rows, find_file, hash_content
from benchmark.store.folders import home

log = logging.getLogger(__name__)

ADVICE = (
    "get it at physionet.org/content/mimiciii (free, after their course and agreement), or set "
    "data.root"
)
PUBLISHED_CODES = 1071
BLOCK = 4096
CODE = re.compile(r"E\d{3,4}|V\d{2,4}|\d{3,5}")


class Mimic3:
    """Which groups of ICD-9 diagnoses a patient ever received: (codes,) float32 in {0, 1}.

    root: holds ADMISSIONS.csv and DIAGNOSES_ICD.csv, plain or .gz, as published.
    on_error: raise or skip, for rows that cannot be used.
    Records: the patients of ADMISSIONS by ascending SUBJECT_ID, also their identity. Columns: the
    groups that occur, sorted as text. A patient has a group if any diagnosis of any admission
    belongs to it. A code's group is its first three characters, V codes included (40301 -> 403,
    V4581 -> V45), and the first four of an E code (E8120 -> E812). An admission's rows without a
    code (ICD9_CODE empty) are no diagnosis; they are counted in the facts.
    A patient without any diagnosis is a vector of zeros.
    Source: Johnson et al., "MIMIC-III, a freely accessible critical care database", Scientific Data
    2016; grouping and union over admissions as for MedGAN (Choi et al. 2017, arXiv 1703.06490),
    which counts 1 071 groups. The number here is whatever the files hold: it is recorded, with a
    warning where it differs.
    """

    def __init__(self, root: str, on_error: OnError = "raise") -> None:
        self.root, self.on_error = home(root), on_error

    def identity(self) -> dict[str, Any]:
        """Hashes of the two files."""
        return {
            "name": "mimic3",
            "on_error": self.on_error,
            "admissions": hash_content(find_file("ADMISSIONS.csv", [self.root], ADVICE)),
            "diagnoses": hash_content(find_file("DIAGNOSES_ICD.csv", [self.root], ADVICE)),
        }

    def prepare(self, folder: Path) -> None:
        """Read both files once and write a row per patient."""
        faults, rows = Faults(self.on_error), Rows()
        patient_of = self._read_admissions(faults, rows)
        codes = {patient: set[str]() for patient in patient_of.values()}
        for patient, code in self._read_diagnoses(patient_of, faults, rows):
            codes[patient].add(code)
        facts = {"name": "mimic3"} | faults.settle(rows.read, "rows of the MIMIC-III files")
        columns = sorted(set().union(*codes.values()))
        if len(columns) != PUBLISHED_CODES:
            log.warning(
                "the files hold %d groups of codes, MedGAN's had %d", len(columns), PUBLISHED_CODES
            )
        facts |= {"records": len(codes), "codes": columns, "rows_without_code": rows.without_code}
        patients = sorted(codes)
        blocks = _vectors_of_codes([codes[patient] for patient in patients], columns)
        write_records(folder, blocks, len(patients), np.array(patients, np.int64), facts)

    def _read_admissions(self, faults: Faults, rows: Rows) -> dict[str, int]:
        """HADM_ID -> SUBJECT_ID."""
        patient_of: dict[str, int] = {}
        for where, (patient, admission) in self._read_rows("ADMISSIONS", ["SUBJECT_ID", "HADM_ID"]):
            rows.read += 1
            if patient.isdecimal() and admission.isdecimal():
                patient_of[admission] = int(patient)
            else:
                faults.add(where, f"SUBJECT_ID {patient!r}, HADM_ID {admission!r}")
        return patient_of

    def _read_diagnoses(
        self, patient_of: dict[str, int], faults: Faults, rows: Rows
    ) -> Iterator[tuple[int, str]]:
        for where, (admission, code) in self._read_rows("DIAGNOSES_ICD", ["HADM_ID", "ICD9_CODE"]):
            rows.read += 1
            if admission not in patient_of:
                faults.add(where, f"HADM_ID {admission!r} is no admission")
            elif not code:
                rows.without_code += 1
            elif not CODE.fullmatch(code):
                faults.add(where, f"ICD9_CODE {code!r}")
            else:
                yield patient_of[admission], group_of_code(code)

    def _read_rows(self, table: str, columns: list[str]) -> Iterator[tuple[str, list[str]]]:
        """Yield (file and line, the wanted cells); a short row has empty cells."""
        path = find_file(f"{table}.csv", [self.root], ADVICE)
        lines = csv_rows(path)
        places = columns_of(next(lines, (1, [""]))[1], columns, path)
        for number, cells in lines:
            wanted = [cells[place].strip() if place < len(cells) else "" for place in places]
            yield f"{path.name} line {number}", wanted


@dataclass
class Rows:
    """Counters: rows read, and those of an admission without a code."""

    read: int = 0
    without_code: int = 0


def group_of_code(code: str) -> str:
    """The group of an ICD-9 code written without its point: E8120 -> E812, 40301 -> 403."""
    return code[:4] if code.startswith("E") else code[:3]


def _vectors_of_codes(codes: list[set[str]], columns: list[str]) -> Iterator[np.ndarray]:
    place = {code: column for column, code in enumerate(columns)}
    for start in range(0, len(codes), BLOCK):
        part = codes[start : start + BLOCK]
        block = np.zeros((len(part), len(columns)), np.float32)
        for row, own in enumerate(part):
            block[row, [place[code] for code in own]] = 1
        yield block
