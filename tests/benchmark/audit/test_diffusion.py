"""Audits of diffusion models: real folders of `diffusers`, callables, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SIGNAL, Memoriser, digits
from diffusers import AutoencoderKL, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor
from torch.nn.functional import avg_pool2d

from benchmark.audit import Diffusion, audit
from benchmark.audit.__main__ import main
from benchmark.audit.given.gather import open_case
from benchmark.audit.request import open_request
from victims.access import AccessibleDenoiser, VariationApi
from victims.errors import UserError

N = 24
Audited = Callable[..., Any]


def small(seed: int, n: int = N) -> Tensor:
    return avg_pool2d(digits(seed, n), 4)


def unet(**settings: Any) -> UNet2DModel:
    torch.manual_seed(0)
    own: dict[str, Any] = {"sample_size": 8, "in_channels": 1, "out_channels": 1}
    own |= {"block_out_channels": (16,), "layers_per_block": 1, "norm_num_groups": 4}
    own |= {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    return UNet2DModel(**{**own, "add_attention": False, **settings})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline on disk that was trained on `small(0)` until it knew it by heart."""
    network, scheduler, x = unet(), DDPMScheduler(), small(0)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(120):
        t, noise = torch.tensor([20, 100, 200])[torch.randint(3, (N,))], torch.randn_like(x)
        told = network(scheduler.add_noise(x, noise, t), t).sample
        optimizer.zero_grad()
        (told - noise).square().mean().backward()
        optimizer.step()
    path = tmp_path_factory.mktemp("pipeline")
    DDPMPipeline(network, scheduler).save_pretrained(path)
    return path


@pytest.mark.slow
def test_a_pipeline_that_learnt_by_heart_leaks_by_the_command_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("members", 0), ("non_members", 1)):
        np.save(tmp_path / f"{name}.npy", small(seed).numpy())
    words = [f"{name}={tmp_path}/{name}.npy" for name in ("members", "non_members")]
    places = [f"machine.store={tmp_path}/store", f"hydra.run.dir={tmp_path}/out"]
    main([*words, f"diffusion={folder}", *places, "attack=[denoising_loss,sima,rediffuse]"])
    said = capsys.readouterr().out
    assert "diffusion: 1000 noise levels" in said
    assert "The diffusion model gives away who was in the training data." in said
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert found["verdict"] == "leak"
    assert found["strongest"]["access"] == "accessible_denoiser"
    assert any("Release samples instead of the network" in step for step in found["next_steps"])
    page = (tmp_path / "out" / "index.html").read_text()
    assert "accessible denoiser: the denoiser of a diffusion model" in page


@pytest.mark.slow
def test_a_pipeline_that_never_saw_the_members_is_cleared_of_a_leak(
    folder: Path, audited: Audited
) -> None:
    found = audited(diffusion=str(folder), members=small(2).numpy(), non_members=small(3).numpy())
    assert found.verdict.word in ("no leak found", "inconclusive")
    assert {step.name for step in found.steps if step.places is not None} == {
        *("denoising_loss", "secmi", "pia", "pian", "sima", "pfami", "rediffuse")
    }
    assert not [check for check in found.result.checks if check.name == "denoiser"]


def test_a_callable_with_a_schedule_is_enough(audited: Audited) -> None:
    model = Diffusion(Memoriser(small(0)).denoise, schedule=SIGNAL)
    given = {"members": small(0).numpy(), "non_members": small(1).numpy()}
    found = audited("attack=[pia,denoising_loss]", diffusion=model, **given)
    assert found.verdict.word == "leak"
    again = Diffusion(Memoriser(small(5)).denoise, schedule=SIGNAL)  # the same schedule and store
    found = audited("attack=[pia,denoising_loss]", diffusion=again, **given)
    assert found.verdict.word != "leak"


def test_without_a_diffusion_model_its_attacks_stand_among_those_not_selected(
    audited: Audited,
) -> None:
    given = {"members": small(0).numpy(), "non_members": small(1).numpy()}
    found = audited("attack=[full_black_box,pia]", samples=small(2).numpy(), **given)
    assert [step.name for step in found.steps] == ["full_black_box"]
    assert "pia" in found.unselected
    with pytest.raises(UserError, match="pia: not run: no diffusion model is given"):
        audited("attack=[pia]", samples=small(2).numpy(), **given)


def case(audit_config: Any, source: Any, *words: str, **given: Any) -> Any:
    data = {"members": small(0, 8).numpy(), "non_members": small(1, 8).numpy(), **given}
    return open_case(open_request(audit_config(*words), data | {"diffusion": source}))


def saved(path: Path, scheduler: Any = None, **settings: Any) -> Path:
    """A U-Net's folder with its scheduler beside the weights."""
    unet(**settings).save_pretrained(path)
    (scheduler or DDPMScheduler()).save_pretrained(path)
    return path


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_whatever_the_network_predicts_the_view_tells_noise(
    tmp_path: Path, audit_config: Any, prediction: str
) -> None:
    """Against the identities of the three in float64, for a network that tells a variance too."""
    scheduler = DDIMScheduler(prediction_type=prediction, beta_schedule="squaredcos_cap_v2")
    path = saved(tmp_path / "unet", scheduler, out_channels=2)
    view = case(audit_config, path).view(AccessibleDenoiser)
    network = UNet2DModel.from_pretrained(path, low_cpu_mem_usage=False).double()
    x, t = torch.randn(3, 1, 8, 8), torch.tensor([3, 400, 800])
    with torch.no_grad():
        out = network(x.double(), t).sample[:, :1]
    a = torch.from_numpy(view.signal)[t].view(3, 1, 1, 1)
    expected = {
        "epsilon": out,
        "v_prediction": a.sqrt() * out + (1 - a).sqrt() * x,
        "sample": (x - a.sqrt() * out) / (1 - a).sqrt(),
    }[prediction]
    torch.testing.assert_close(view.denoise(x, t).double(), expected, rtol=1e-3, atol=1e-4)


def test_a_latent_model_is_attacked_in_the_space_of_its_vae(
    tmp_path: Path, audit_config: Any
) -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(
        in_channels=1, out_channels=1, latent_channels=2, block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4, scaling_factor=0.5, shift_factor=0.1,
    )  # fmt: skip
    vae.save_pretrained(tmp_path / "m" / "vae")
    unet(in_channels=2, out_channels=2, sample_size=4).save_pretrained(tmp_path / "m" / "unet")
    DDPMScheduler().save_pretrained(tmp_path / "m" / "scheduler")
    found = case(audit_config, tmp_path / "m")
    assert "diffusion: attacked in the latent space of its VAE, 2x4x4" in found.notes
    x = found.queries.records(np.arange(3))
    with torch.no_grad():
        mean = vae.eval().encode(x).latent_dist.mean
        expected = vae.decode(mean).sample
    inner = found.view(AccessibleDenoiser).encode(x)
    torch.testing.assert_close(inner, (mean - 0.1) * 0.5, rtol=1e-3, atol=1e-4)
    made = found.view(VariationApi).vary(x, 1, 1, 0)
    assert made.shape == x.shape
    assert float((made - expected).abs().mean()) < 0.2 * float(expected.std())


def changed(path: Path, **settings: Any) -> None:
    """Write other settings into a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def _no_weights(path: Path) -> None:
    (path / "diffusion_pytorch_model.safetensors").unlink()


def _pickled(path: Path) -> None:
    _no_weights(path)
    torch.save({}, path / "diffusion_pytorch_model.bin")


SPOILT: list[tuple[Callable[[Path], Any], str]] = [
    (lambda path: (path / "config.json").unlink(), "there is no config.json"),
    (lambda path: (path / "config.json").write_text("{"), "it is damaged or no JSON"),
    (lambda path: (path / "scheduler_config.json").unlink(), "no scheduler_config.json, the noise"),
    (_no_weights, "there are no weights, diffusion_pytorch_model.safetensors"),
    (_pickled, "is a pickle, which can run code"),
    (lambda path: changed(path / "config.json", _class_name="UNet2DConditionModel"),
     "a UNet2DConditionModel is no UNet2DModel: it needs a text, a class"),
    (lambda path: changed(path / "config.json", num_class_embeds=10), "network is conditional"),
    (lambda path: changed(path / "config.json", layers_per_block=2), "weights do not fit config"),
    (lambda path: changed(path / "config.json", in_channels=3), "diffusion"),
    (lambda path: changed(path / "config.json", sample_size=16),
     "trained on 16x16 (sample_size in its config), the images are 8x8"),
    (lambda path: changed(path / "config.json", num_train_timesteps=100),
     "the schedule has 1000 levels, but the network was built for 100"),
    (lambda path: changed(path / "scheduler_config.json", beta_schedule=None),
     "has no beta_schedule"),
    (lambda path: changed(path / "scheduler_config.json", beta_schedule="other"),
     "its schedule cannot be made"),
    (lambda path: changed(path / "scheduler_config.json", prediction_type="flow"),
     "prediction_type=flow; known are"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), SPOILT)
def test_a_spoilt_folder_is_one_line_before_any_attack(
    tmp_path: Path, audit_config: Any, spoil: Any, message: str
) -> None:
    path = saved(tmp_path / "unet")
    spoil(path)
    with pytest.raises(UserError) as raised:
        case(audit_config, str(path))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def nan_at(level: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A network that fails at a level, and at those within 50."""
    return lambda x, t: torch.where((t.view(-1, 1, 1, 1) - level).abs() <= 50, x * float("nan"), x)


MODELS: list[tuple[Any, Any, str]] = [
    (lambda x, t: x, None, "a callable needs its schedule"),
    (lambda x, t: x, SIGNAL[::-1], "its schedule must fall"),
    (lambda x, t: x, np.linspace(1e-4, 0.02, 1000), "are these the betas?"),
    (lambda x, t: x, SIGNAL[:1], "two finite numbers or more"),
    (lambda x: x, SIGNAL, "at level 0: it fails on an input"),
    (lambda x, t: x[:, :, :4], SIGNAL, "it gives shape (8, 1, 4, 8), (8, 1, 8, 8) is needed"),
    (lambda x, t: torch.randn_like(x), SIGNAL, "another output when it is asked again"),
    (nan_at(950), SIGNAL, "at level 999: 8 of 8 outputs hold NaN"),
    (nan_at(200), SIGNAL, "at level 199: 8 of 8 outputs hold NaN"),
    (3, SIGNAL, "a int is no diffusion model"),
]


@pytest.mark.parametrize(("model", "schedule", "message"), MODELS)
def test_a_callable_that_cannot_be_used_is_one_line(
    tmp_path: Path, audit_config: Any, model: Any, schedule: Any, message: str
) -> None:
    with pytest.raises(UserError) as raised:
        case(audit_config, Diffusion(model, schedule=schedule))
    assert message in str(raised.value)


def test_what_else_is_refused(tmp_path: Path, audit_config: Any, audited: Audited) -> None:
    model = Diffusion(Memoriser(small(0)).denoise, schedule=SIGNAL)
    rows = {name: np.random.default_rng(i).random((30, 4)) for i, name in enumerate("ab")}
    with pytest.raises(UserError, match="it denoises images, but the records are a table"):
        case(audit_config, model, members=rows["a"], non_members=rows["b"])
    with pytest.raises(UserError, match="diffusion=nowhere: there is no such folder"):
        case(audit_config, "nowhere")
    (tmp_path / "model.ckpt").write_bytes(b"")
    with pytest.raises(UserError, match="a folder is needed, as diffusers' save_pretrained"):
        case(audit_config, tmp_path / "model.ckpt")
    with pytest.raises(UserError, match="level 1000 is outside its schedule, 0 to 999"):
        model.told(small(0, 1), torch.tensor([1000]))
    few = Diffusion(Memoriser(small(0)).denoise, schedule=SIGNAL[:50])
    given = {"members": small(0).numpy(), "non_members": small(1).numpy()}
    with pytest.raises(UserError, match="asks for level 200, but the schedule has 50"):
        audited("attack=[pia]", diffusion=few, **given)


def test_a_network_that_tells_noise_no_better_than_nobody_is_doubted(audited: Audited) -> None:
    model = Diffusion(lambda x, t: -x, schedule=SIGNAL)  # as with the wrong sign, or schedule
    given = {"members": small(0).numpy(), "non_members": small(1).numpy()}
    checks = audited("attack=[sima]", diffusion=model, **given).result.checks
    assert "Does the schedule fit the network" in {c.name: c.message for c in checks}["denoiser"]


def test_a_pipeline_in_memory_stays_as_it_was(tmp_path: Path) -> None:
    pipeline = DDPMPipeline(unet().train(), DDPMScheduler())
    found = audit(
        small(0).numpy(), small(1).numpy(), diffusion=pipeline,
        settings=["scale=smoke", "attack=[sima]", f"machine.store={tmp_path}/store"],
    )  # fmt: skip
    assert len(found.result.ok)
    assert pipeline.unet.training
    assert all(weight.requires_grad for weight in pipeline.unet.parameters())
