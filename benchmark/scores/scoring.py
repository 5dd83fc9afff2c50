"""An attack at work: finished queries are kept, and a batch that does not fit is halved."""

from __future__ import annotations

import copy
import logging
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from torch import Tensor

from attacks.base import Attack, Learns
from benchmark.models.memory import Fitting
from benchmark.store.entries import WORK, Store, read_meta
from benchmark.store.provenance import code
from victims.access import View
from victims.errors import UserError

log = logging.getLogger(__name__)

Score = Callable[[Any, Tensor], np.ndarray]
"""View, queries (n, *shape) -> scores (n,)."""


QUERIES = 512
"""Queries whose scores are saved together at most: what a stopped attack has to repeat."""

EVALUATIONS = 2**18
"""Generator evaluations after which a thorough attack shall save sooner: about a minute's worth."""

LEAST = 64
"""Queries that are scored together in any case: fewer would leave a GPU idle."""


def chunk(attack: Any) -> int:
    """How many queries an attack scores and saves together, by what it spends on each."""
    return max(LEAST, min(QUERIES, EVALUATIONS // int(evaluations(attack, 1))))


def evaluations(attack: Any, otherwise: float = np.nan) -> float:
    """How often an attack may ask a victim's network for each query, where it has such a budget."""
    return float(getattr(attack, "evaluations", otherwise))


def note_of(name: str, attack: Mapping[str, Any]) -> dict[str, str]:
    """What is noted beside all that an attack (its config) makes: by which code."""
    return {"attack": name, "code": code({name: attack}).get(name, "")}


def work_folder(folder: Path, note: Mapping[str, Any]) -> Path:
    """Where an entry's unfinished work is kept: what other code left there is not gone on with."""
    work = folder / WORK / f"code-{note['code'][:16]}"
    work.mkdir(parents=True, exist_ok=True)
    return work


def ready_to_score(
    store: Store, filed: dict[str, Any], note: Mapping[str, Any], attack: Attack, view: View
) -> tuple[Score, float]:
    """An attack's scoring function, and the seconds it took to learn what that needs to know.

    filed: what determines what the attack learns of this view; the store keeps it. note: `note_of`.
    """
    if not isinstance(attack, Learns):
        return attack.score, 0.0

    def make(folder: Path) -> None:
        log.info("attack %s: learning", note["attack"])
        learner = copy.copy(attack)  # what it leaves on itself is not there when others judge
        learnt = Fitting(view)(lambda view: learner.learn(view, work_folder(folder, note)))
        # safetensors writes memory as it lies: arrays of columns would come back scrambled.
        plain = {name: np.ascontiguousarray(array) for name, array in learnt.items()}
        save_file(plain, folder / "learnt.safetensors")

    folder = store.get("learnt", filed, make, note)
    learnt = load_file(folder / "learnt.safetensors")
    return partial(attack.judge, learnt), float(read_meta(folder)["seconds"])


class BadScores(UserError):
    """An attack gave what are no scores, one a query; the message says what is wrong."""


def score_all(
    score: Score, view: View, blocks: Iterable[tuple[int, Tensor]], work: Path | None = None
) -> np.ndarray:
    """Scores (n,) float64 of all queries, a block at a time.

    blocks: (number of the first query, queries (m, *shape)). work: where finished blocks are
    kept, so that a later call with the same arguments computes the others only.
    Raises BadScores where scores are not finite or not one a query.
    """
    fitting, parts = Fitting(view), []
    for start, queries in blocks:
        path = None if work is None else work / f"{start}.npz"
        scores = None if path is None else _kept_scores(path)
        if scores is None:
            scores = _score_block(score, fitting, queries)
            if path is not None:
                _keep_scores(path, scores)
        parts.append(scores)
    return np.concatenate(parts)


def _score_block(score: Score, fitting: Fitting, queries: Tensor) -> np.ndarray:
    scores = np.asarray(fitting(lambda view: score(view, queries)), np.float64)
    if scores.shape != (len(queries),):
        raise BadScores(
            f"the attack gave scores of shape {scores.shape} for {len(queries)} queries; "
            f"({len(queries)},) is wanted, a number for each"
        )
    if wrong := int((~np.isfinite(scores)).sum()):
        raise BadScores(f"the attack gave {wrong} of {len(queries)} scores that are not finite")
    return scores


def _keep_scores(path: Path, scores: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    new = path.with_suffix(".new.npz")
    np.savez(new, scores=scores)  # a zip, because it has a checksum
    os.replace(new, path)


def _kept_scores(path: Path) -> np.ndarray | None:
    """Scores that an interrupted attack left; None where there are none, or they are damaged."""
    try:
        with np.load(path) as found:
            return found["scores"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged (%s); these queries are scored again", path, error)
        return None
