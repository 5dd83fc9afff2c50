"""Folders of diffusion models as `diffusers` writes them: no pickle, no code of theirs, no network.

Weights are read from safetensors, and of a scheduler only the numbers that make its noise levels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from victims.errors import UserError

WEIGHTS = "diffusion_pytorch_model"
UNET = "UNet2DModel"
VAES = {"vae": "AutoencoderKL", "vqvae": "VQModel"}
"""Folder in a pipeline -> class of the network that turns images into latents and back."""
LEVELS = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas"),
    "rescale_betas_zero_snr",
)
"""Settings of a scheduler that determine its noise levels."""
PREDICTIONS = ("epsilon", "v_prediction", "sample")
TO_SAY = "a callable in Python, Diffusion(model, schedule=...), may be of any kind"


@dataclass(frozen=True)
class Pipeline:
    """A diffusion model: its network, and what its files say of it.

    signal: (T,) float64, abar of each level. prediction: what the network puts out, one of
    PREDICTIONS. channels, side: of its input; None where it does not say. vae: images to latents
    and back; None where the network sees images.
    """

    network: Any
    signal: np.ndarray
    prediction: str = "epsilon"
    channels: int | None = None
    side: int | None = None
    vae: nn.Module | None = None


def open_folder(where: str, folder: Path) -> Pipeline:
    """A pipeline's folder, or that of a U-Net with its scheduler. Raises UserError, one line."""
    home = folder / "unet" if (folder / "unet").is_dir() else folder
    config = _read_config(where, home / "config.json", "the network's settings")
    _refuse_conditional(f"{where}={home}", config)
    schedulers = (folder / "scheduler", folder, home)
    files = [own / "scheduler_config.json" for own in schedulers]
    schedule = next((file for file in files if file.is_file()), files[0])
    levels = _read_config(where, schedule, "the noise levels")
    vaes = [name for name in VAES if (folder / name).is_dir()]
    network = _open_network(where, home, UNET)
    return make_pipeline(
        f"{where}={folder}",
        network,
        levels,
        _open_network(where, folder / vaes[0], VAES[vaes[0]]) if vaes else None,
    )


def of_object(where: str, pipeline: Any) -> Pipeline:
    """A pipeline in memory: an object with `unet` and `scheduler`, perhaps with `vae`."""
    network = pipeline.unet
    _refuse_conditional(where, {**network.config, "_class_name": type(network).__name__})
    vae = getattr(pipeline, "vae", None) or getattr(pipeline, "vqvae", None)
    return make_pipeline(where, network, dict(pipeline.scheduler.config), vae)


def make_pipeline(
    where: str, network: Any, levels: Mapping[str, Any], vae: nn.Module | None
) -> Pipeline:
    """A pipeline of its parts; levels: the scheduler's settings."""
    prediction = str(levels.get("prediction_type", "epsilon"))
    if prediction not in PREDICTIONS:
        raise UserError(
            f"{where}: its scheduler says prediction_type={prediction}; known are "
            f"{', '.join(PREDICTIONS)}"
        )
    signal, config = _signal_of_levels(where, levels), network.config
    known = config.get("num_train_timesteps")
    if known is not None and known < len(signal):
        raise UserError(
            f"{where}: the schedule has {len(signal)} levels, but the network was built for "
            f"{known}; is the scheduler another model's?"
        )
    side = config.get("sample_size")
    return Pipeline(
        network,
        signal,
        prediction,
        channels=config["in_channels"],
        side=side if isinstance(side, int) else None,
        vae=vae,
    )


def _signal_of_levels(where: str, levels: Mapping[str, Any]) -> np.ndarray:
    """abar (T,) of a scheduler's settings."""
    if levels.get("beta_schedule") is None and levels.get("trained_betas") is None:
        raise UserError(
            f"{where}: its scheduler, a {levels.get('_class_name', 'nameless one')}, has no "
            f"beta_schedule; attacks need noise levels 0 to T - 1, as of DDPM and DDIM"
        )
    from diffusers import DDPMScheduler  # takes seconds to import

    settings = {name: levels[name] for name in LEVELS if levels.get(name) is not None}
    try:
        return DDPMScheduler(**settings).alphas_cumprod.double().numpy()
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{where}: its schedule cannot be made: {error}") from error


def _read_config(where: str, path: Path, what: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{where}={path.parent}: there is no {path.name}, {what}; needed is a folder that "
            f"diffusers' save_pretrained wrote: a pipeline, or a U-Net with its scheduler"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{where}={path}: it is damaged or no JSON ({error})") from error
    if not isinstance(found, dict):
        raise UserError(f"{where}={path}: it holds no settings")
    return found


def _refuse_conditional(where: str, config: Mapping[str, Any]) -> None:
    """Raise UserError for networks that take more than an image and a level."""
    kind = config.get("_class_name")
    if kind != UNET:
        raise UserError(
            f"{where}: a {kind} is no {UNET}: it needs a text, a class or another condition, which "
            f"an audit does not have; {TO_SAY}"
        )
    if config.get("class_embed_type") or config.get("num_class_embeds"):
        raise UserError(
            f"{where}: the network is conditional, on a class that it is not given; {TO_SAY}, one "
            f"that gives the class itself among them"
        )


def _open_network(where: str, folder: Path, kind: str) -> Any:
    """A network of diffusers from safetensors alone."""
    if not [*folder.glob(f"{WEIGHTS}*.safetensors")]:
        pickles = [*folder.glob(f"{WEIGHTS}*.bin")]
        raise UserError(
            f"{where}={folder}: there are no weights, {WEIGHTS}.safetensors; "
            + (
                f"{pickles[0].name} is a pickle, which can run code when it is opened: save with "
                f"safe_serialization=True"
                if pickles
                else "save the model with save_pretrained"
            )
        )
    import diffusers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    try:
        network, found = getattr(diffusers, kind).from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except Exception as error:  # diffusers raises whatever it met inside
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{where}={folder}: it cannot be opened: {reason[:200]}") from error
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if found.get(problem):
            raise UserError(
                f"{where}={folder}: the weights do not fit config.json: {len(found[problem])} "
                f"{problem.replace('_', ' ')}, such as {found[problem][0]}"
            )
    return network.float()
