"""A copy of each job's result in Weights & Biases; nothing in the benchmark reads it back."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from benchmark.data import tiles
from benchmark.measures.result import JobResult
from benchmark.store.folders import home

log = logging.getLogger(__name__)


class NoLogger:
    """Logs nowhere."""

    def log(self, result: JobResult, folder: Path | str) -> None:
        """Do nothing."""

    def log_report(
        self, tables: Mapping[str, pd.DataFrame], files: Path, folder: Path | str
    ) -> None:
        """Do nothing."""


class WandbLogger:
    """One W&B run per job.

    mode: offline (no account, no network; `wandb sync` uploads it later), online or disabled.
    project: of W&B, in which runs are listed.
    dir: where runs are kept, ~ is the home folder; None is the job's own folder.
    group: name of the sweep, or None.
    stored: whether a result that was found in the store is logged again.
    timeout: seconds to wait for the server at the start, and again at the end.
    Raises UserError for an unknown mode.
    """

    def __init__(
        self,
        mode: Literal["offline", "online", "disabled"] = "offline",
        project: str = "gan-leaks",
        dir: str | None = None,
        group: str | None = None,
        stored: bool = False,
        timeout: float = 30,
    ) -> None:
        self.mode, self.project, self.group = mode, project, group
        self.dir = home(dir) if dir else None
        self.stored, self.timeout = stored, timeout

    def log(self, result: JobResult, folder: Path | str) -> None:
        """Log table, AUROCs, ROC curves, samples and config; a failure is a warning, no error."""

        def fill(run: Any, wandb: Any) -> None:
            run.log(_run_media(result, wandb))
            run.summary.update(_run_summary(result))

        config = result.config | {"provenance": result.provenance}
        about = {"name": result.title, "group": self.group, "config": config}
        self._try(Path(self.dir or folder), fill, about)

    def log_report(
        self, tables: Mapping[str, pd.DataFrame], files: Path, folder: Path | str
    ) -> None:
        """Log tables by study, and as one artefact what is in each study's folder under `files`."""

        def fill(run: Any, wandb: Any) -> None:
            run.log({name: wandb.Table(dataframe=table) for name, table in tables.items()})
            artifact = wandb.Artifact("report", type="report")
            for name in tables:  # add_dir would print
                for file in sorted((files / name).iterdir()):
                    artifact.add_file(str(file), f"{name}/{file.name}")
            run.log_artifact(artifact)

        group = next(iter(tables)) if len(tables) == 1 else None
        about = {"name": f"report: {', '.join(tables)}", "job_type": "report", "group": group}
        self._try(Path(self.dir or folder), fill, about)

    def _try(self, folder: Path, fill: Callable[[Any, Any], None], about: dict[str, Any]) -> None:
        """A run of its own; what goes wrong is a warning."""
        if self.mode == "disabled":
            return
        try:
            self._run(folder, fill, about)
        except Exception as error:  # a copy that cannot be made must not cost the result
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.warning("W&B (mode %s) logged nothing or only a part: %s", self.mode, reason)

    def _run(self, folder: Path, fill: Callable[[Any, Any], None], about: dict[str, Any]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # no crash reports: no network
        import wandb  # here, so that logger=none neither needs nor waits for it

        folder.mkdir(parents=True, exist_ok=True)  # else W&B silently moves to a temporary folder
        run = wandb.init(
            mode=self.mode,  # type: ignore[arg-type]
            project=self.project,
            dir=folder,
            reinit="create_new",
            settings=self._settings(wandb),
            **about,
        )
        exit_code = 1
        try:
            fill(run, wandb)
            exit_code = 0
        finally:
            run.finish(exit_code=exit_code)

    def _settings(self, wandb: Any) -> Any:
        return wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            x_disable_stats=True,
            init_timeout=self.timeout,
            login_timeout=self.timeout,
            finish_timeout=self.timeout,
        )


def _run_media(result: JobResult, wandb: Any) -> dict[str, Any]:
    from benchmark.show import figures  # matplotlib takes a second to import

    media = {"table": wandb.Table(dataframe=result.rows)}
    if not result.ok.empty:
        media["roc"] = wandb.Image(figures.as_image(figures.draw_roc(result, log=False)))
        media["roc_log"] = wandb.Image(figures.as_image(figures.draw_roc(result, log=True)))
    if result.samples is not None and result.samples.ndim == 4 and len(result.samples):
        columns = tiles.columns_for(result.samples)
        media["samples"] = wandb.Image(tiles.tile_images(result.samples, columns))
    return media


def _run_summary(result: JobResult) -> dict[str, float]:
    """quality/<name>, and auroc/<attack>, or auroc/<attack>+<calibration>, where there is one."""
    summary = {f"quality/{name}": value for name, value in result.quality.items()}
    for _, row in result.ok.iterrows():
        suffix = "" if row["calibrated"] == "none" else f"+{row['calibrated']}"
        summary[f"auroc/{row['attack']}{suffix}"] = float(row["auroc"])
    return summary
