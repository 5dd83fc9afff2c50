"""What quantile regression adds to an attack, from the scores of finished jobs on digits.

    python bench/quantile.py [results/ranking/results.zip] [--alpha 0.05]

One half of a job's non-members teaches the quantiles, and the members are told from the other half;
then the halves change places. So 64 strangers teach where a job asks about 128 non-members. Printed
are means over jobs, for each attack whose scores say nothing of those strangers: AUROC and true
positive rate at 5 % false alarms, raw, less a reference model's, and above the quantile; and how
many strangers lay above their quantile. The interval is of the AUROC's gain over the raw score,
with the seeds as the sample: victims of one seed share their members and non-members.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from attacks.calibration.quantile import Quantile, Strangers, describe_records
from benchmark.data.dataset import read_dataset
from benchmark.data.mnist5k import Mnist5k
from benchmark.measures import metrics, rates
from benchmark.measures.estimate import Estimate, over_seeds

ATTACKS = ("full_black_box", "closest_record", "partial_black_box", "white_box", "discriminator")
FPR = 0.05
SCORES = "scores.parquet"


def main() -> None:
    """Print what each attack gains, by seed and by victim too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", nargs="?", default="results/ranking/results.zip", type=Path)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--attacks", nargs="*", default=ATTACKS)
    options = parser.parse_args()
    found = pd.DataFrame(
        names | measured
        for names, scores, features in finished(options.archive)
        for attack in options.attacks
        for measured in compare(attack, scores, features, Quantile(options.alpha))
    )
    for attack, rows in found.groupby("attack", sort=False):
        rows = rows.assign(gain=rows["quantile"] - rows["raw"])
        gain = gain_over_seeds(rows)
        print(f"{attack}, {gain.seeds} seeds: gain {gain.mean:.3f} +- {gain.half:.3f}")
        for name in ("seed", "victim"):
            print(f"    by {name}", rows.groupby(name)["gain"].mean().round(3).to_dict())
        print("   ", rows.drop(columns=["attack", "seed", "victim"]).mean().round(3).to_dict())


def gain_over_seeds(rows: pd.DataFrame) -> Estimate:
    """The mean gain with its interval over seeds; rows: seed and gain, one a job."""
    return over_seeds(rows.groupby("seed")["gain"].mean().tolist())


def finished(archive: Path) -> list[tuple[dict[str, float | str], pd.DataFrame, np.ndarray]]:
    """Each job's seed and victim, its scores, and the features of all records by row number."""
    with tempfile.TemporaryDirectory() as folder:
        Mnist5k().prepare(Path(folder))
        data = read_dataset(Path(folder))
        features = describe_records(data.records(np.arange(len(data.digests))))
        with zipfile.ZipFile(archive) as packed:
            files = [name for name in packed.namelist() if name.endswith(f"/{SCORES}")]
            return [
                (names_of(packed, name), pd.read_parquet(packed.open(name)), features)
                for name in files
            ]


def names_of(packed: zipfile.ZipFile, scores: str) -> dict[str, float | str]:
    """The seed and the victim of the job with these scores, from its result beside them."""
    result = json.loads(packed.read(scores.replace(SCORES, "result.json")))
    config = result["fields"]["config"]
    return {"seed": config["seed"], "victim": config["victim"]["_target_"].split(".")[-1]}


def compare(
    attack: str, scores: pd.DataFrame, features: np.ndarray, quantile: Quantile
) -> list[dict[str, float | str]]:
    """What an attack reaches by each calibration, mean of both halves; empty without scores."""
    own = scores[scores["attack"] == attack].pivot(
        index=["query", "member"], columns="calibrated", values="score"
    )
    if own.empty:
        return []
    rows, member = (own.index.get_level_values(name).to_numpy() for name in ("query", "member"))
    strangers = np.random.default_rng(0).permutation(np.flatnonzero(~member))
    halves = np.array_split(strangers, 2)
    both = []
    for teach, rest in (halves, halves[::-1]):
        asked = np.concatenate([np.flatnonzero(member), rest])
        known = np.stack([teach, rest], 1).ravel()  # every second one teaches
        raw = own["none"].to_numpy()
        judged = quantile.judge(
            raw[asked], features[rows[asked]], Strangers(raw[known], features[rows[known]])
        )
        values = {"raw": raw[asked], "quantile": judged.scores}
        if "difference" in own:
            values["difference"] = own["difference"].to_numpy()[asked]
        both.append({"alarms": judged.alarms / judged.strangers} | measure(values, member[asked]))
    return [{"attack": attack, **{n: float(np.mean([own[n] for own in both])) for n in both[0]}}]


def measure(values: dict[str, np.ndarray], member: np.ndarray) -> dict[str, float]:
    """AUROC by name, and `tpr` behind the name."""
    found = {}
    for name, own in values.items():
        found[name] = metrics.auroc(own[member], own[~member])
        found[f"{name} tpr"] = rates.tpr_at_fpr(own[member], own[~member], FPR).tpr
    return found


if __name__ == "__main__":
    main()
