"""What must hold for every victim in conf/victim."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import TABLES, Shared, digits, fit_in, names, records
from hydra.utils import get_class
from omegaconf import DictConfig
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmark.config.build import build
from victims.access import AccessibleDiscriminator, WhiteBox, ordered_pairs
from victims.base import NonFiniteLoss, Victim
from victims.errors import NoAccess, UserError
from victims.networks import ToImage
from victims.training.batches import Batches
from victims.training.train import CHECKPOINT, WEIGHTS, Training, load_victim
from victims.wgan_gp import WGANGP

OFTEN = Training(checkpoint_every_s=0)
TRAINED = [name for name in names("victim") if name != "package"]
"""Those that we train; of a package see `test_package.py`."""


class Trained(NamedTuple):
    """Makes new victims, records to train them on, and the folder of one that was trained."""

    fresh: Callable[[], Victim]
    data: Tensor
    whole: Path


@pytest.fixture(params=TRAINED)
def make(
    request: pytest.FixtureRequest, config: Callable[..., DictConfig], shared: Shared
) -> Trained:
    return maker(request.param, "dp=off", config, shared)


@pytest.fixture(params=[f"{name} dp={dp}" for name in TRAINED for dp in ("off", "on")])
def either(
    request: pytest.FixtureRequest, config: Callable[..., DictConfig], shared: Shared
) -> Trained:
    return maker(*request.param.split(), config, shared)


def maker(name: str, dp: str, config: Callable[..., DictConfig], shared: Shared) -> Trained:
    """New victims, private ones with a given noise; they are trained once for all tests."""
    data = records(name)
    settings = config(f"victim={name}", dp)

    def victim() -> Victim:
        torch.manual_seed(1)
        made: Victim = build(settings.victim, "victim", shape=tuple(data.shape[1:]))
        if settings.dp and name == "ctgan":
            with pytest.raises(UserError, match="cannot be trained privately"):
                made.make_private()
            pytest.skip("it cannot be trained privately, and says so")
        if settings.dp:
            made.make_private()
            noise = build(settings.dp, "dp", epsilon=None, noise_multiplier=1.0)
            noise.attach_mechanism(made, len(data))
        return made

    whole = shared(f"{name}-{dp}", lambda folder: train(victim(), data, folder))
    return Trained(victim, data, whole)


def train(victim: Victim, data: Tensor, folder: Path, training: Training = OFTEN) -> None:
    fit_in(folder, victim, lambda rows: data[rows], size=len(data), seed=5, training=training)


def samples(victim: Victim, folder: Path) -> Tensor:
    codes = torch.randn(6, victim.z_dim, generator=torch.Generator().manual_seed(2))
    return load_victim(victim, folder).generate(codes)


def test_it_trains_and_reloads_to_the_same_samples(either: Trained, tmp_path: Path) -> None:
    fresh, data, whole = either
    victim = fresh()
    train(victim, data, tmp_path)
    first = samples(victim, tmp_path)
    assert first.shape == (6, *data.shape[1:])
    assert torch.isfinite(first).all()
    assert torch.equal(samples(fresh(), tmp_path), first)
    assert torch.equal(samples(fresh(), whole), first)  # trained by another test, or process


def test_interrupted_and_resumed_equals_uninterrupted(
    either: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, data, whole = either
    halves = tmp_path / "halves"
    halves.mkdir()

    class Killed(Exception):
        pass

    victim = fresh()
    step, taken = victim.training_step, []

    def dies(*batch: object) -> object:
        if len(taken) == victim.steps // 2:
            raise Killed
        taken.append(1)
        return step(*batch)

    monkeypatch.setattr(victim, "training_step", dies)
    with pytest.raises(Killed):
        train(victim, data, halves)
    assert torch.load(halves / "work" / CHECKPOINT, weights_only=True)["done"] == victim.steps // 2
    train(fresh(), data, halves)
    assert torch.equal(samples(fresh(), halves), samples(fresh(), whole))
    counts = [load_file(folder / WEIGHTS).get("private_steps") for folder in (whole, halves)]
    assert counts[0] == counts[1]
    assert (counts[0] is None) == (victim.mechanism is None)
    assert counts[0] is None or counts[0] > 0


@pytest.mark.slow
def test_mixed_precision_trains_weights_that_stay_float32(make: Trained, tmp_path: Path) -> None:
    fresh, data, whole = make
    victim = fresh()
    train(victim, data, tmp_path, Training(precision="bf16-mixed", checkpoint_every_s=1e9))
    assert all(
        v.dtype != torch.bfloat16 for v in load_victim(fresh(), tmp_path).state_dict().values()
    )
    mixed = samples(fresh(), tmp_path)
    assert mixed.dtype == torch.float32
    assert torch.isfinite(mixed).all()
    weights = load_file(tmp_path / WEIGHTS)
    again = load_file(whole / WEIGHTS)
    assert any(not torch.equal(weights[k], again[k]) for k in again)  # no float32 in disguise


PARAMETERS = {
    "dcgan": 6_342_340,
    "ddpm": 35_746_307,
    "medgan": 906_928,
    "pggan": 41_621_008,
    "vae": 7_972_747,
    "vae_table": 1_265_327,
    "vaegan": 11_377_235,
    "vaegan_larsen": 11_426_564,
    "wgan_gp": 16_032_324,
    "wgan_gp_dcgan": 6_570_820,
    "wgan_gp_table": 764_585,
}
SHAPES = {
    "medgan": (1071,),
    "vae_table": (1071,),
    "wgan_gp_table": (168,),
    "tvae": (168,),
    "ctgan": (168,),
    "tab_ddpm": (168,),
}
"""Of the paper's tables; its images are 64x64 in colour."""
AT_ONCE = 2
"""Images in the step: with the paper's 32 and 64, DDPM and WGAN-GP take 7.4 and 4.7 GiB, and minutes on a core."""


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_the_papers_sizes_build_and_take_a_step(
    config: Callable[..., DictConfig], name: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    shape = SHAPES.get(name, (3, 64, 64))
    victim = build(config(f"victim={name}", "scale=paper").victim, "victim", shape=shape)
    count = sum(weight.numel() for weight in victim.parameters() if weight.requires_grad)
    assert count == PARAMETERS.get(name, count)
    averaged = name in ("ddpm", "pggan", "tab_ddpm")
    assert averaged or count == sum(weight.numel() for weight in victim.parameters())
    victim.steps = 1
    if name not in TABLES:
        victim.batch_size = AT_ONCE
    if name == "pggan":
        victim.images_shown.fill_(10**7)  # the full resolution
    if name == "ddpm":
        victim.sampler.set_timesteps(1)
        victim.decay = victim.warmup = 0  # so that one step shows
    if hasattr(victim, "n_critic"):
        victim.n_critic = 1  # so that the generator's first step is the first of all
    rows = torch.rand(victim.batch_size, *shape)
    data = rows.round() if name in TABLES else 2 * rows - 1
    before = victim.generate(torch.ones(2, victim.z_dim))
    fit_in(tmp_path, victim, lambda at: data[at], size=len(data), seed=5)
    after = load_victim(victim, tmp_path).generate(torch.ones(2, victim.z_dim))
    assert after.shape == (2, *shape)
    assert torch.isfinite(after).all()
    assert np.isfinite(list(victim.losses.values())).all()
    if name in ("pggan", "wgan_gp", "wgan_gp_dcgan"):
        assert set(victim.losses) == {"critic", "generator"}
    assert name == "medgan" or not torch.equal(before, after)  # its first phase trains no generator


def test_a_row_does_not_depend_on_the_other_rows(either: Trained) -> None:
    fresh, data, whole = either
    victim = load_victim(fresh(), whole)
    codes = torch.randn(6, victim.z_dim, generator=torch.Generator().manual_seed(2))
    # Diffusion divides its first step's rounding by sqrt(abar_T), 0.006.
    all_rows, part = victim.generate(codes)[2:4], victim.generate(codes[2:4])
    torch.testing.assert_close(all_rows, part, rtol=1e-4, atol=1e-4)
    if victim.can_grant(AccessibleDiscriminator):
        view = victim.view(AccessibleDiscriminator, codes.numpy(), codes.numpy(), 8)
        torch.testing.assert_close(
            view.discriminate(data)[2:4], view.discriminate(data[2:4]), rtol=1e-4, atol=1e-4
        )


def test_the_white_box_gradient_is_that_of_the_generator(make: Trained) -> None:
    victim = load_victim(make.fresh(), make.whole)
    codes = np.zeros((1, victim.z_dim), np.float32)
    view = victim.view(WhiteBox, codes, codes, 8)
    z = torch.randn(2, victim.z_dim, requires_grad=True)
    view.differentiate(z).sum().backward()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()
    assert not view.generate(z).requires_grad


def test_a_damaged_checkpoint_means_starting_again(make: Trained, tmp_path: Path) -> None:
    fresh, data, whole = make
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    expected = samples(fresh(), tmp_path)
    checkpoint = tmp_path / "work" / CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    train(fresh(), data, tmp_path)
    assert torch.equal(samples(fresh(), tmp_path), expected)


def dcgan(config: Callable[..., DictConfig], *overrides: str) -> Victim:
    settings = config("victim=dcgan", *overrides).victim
    return build(settings, "victim", shape=(1, 32, 32))


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint_kept(
    config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    data = digits(0, 24)
    poisoned = lambda rows: data[rows] * (torch.nan if calls.append(1) or len(calls) > 2 else 1.0)  # noqa: E731
    calls: list[int] = []
    with pytest.raises(NonFiniteLoss, match="discriminator loss became nan"):
        fit_in(tmp_path, dcgan(config), poisoned, size=24, seed=5, training=OFTEN)
    kept = torch.load(tmp_path / "work" / CHECKPOINT, weights_only=True)
    assert kept["done"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in kept["weights"].values())


def test_a_checkpoint_that_would_run_code_is_refused(
    config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return Path(tmp_path / "harm").touch, ()

    (tmp_path / "work").mkdir()
    torch.save({"done": 1, "weights": Malicious()}, tmp_path / "work" / CHECKPOINT)
    train(dcgan(config), digits(0, 24), tmp_path)
    assert not (tmp_path / "harm").exists()


def test_each_epoch_reads_every_record_once() -> None:
    batches = Batches(lambda rows: torch.from_numpy(rows), 10, 4, 0, 5, seed=3)
    rows = torch.cat([batches[i] for i in range(len(batches))])
    assert sorted(rows[:10].tolist()) == list(range(10))
    assert sorted(rows[10:].tolist()) == list(range(10))
    later = Batches(lambda rows: torch.from_numpy(rows), 10, 4, 2, 5, seed=3)
    assert torch.equal(later[0], batches[2])


def test_a_part_that_is_not_there_is_no_access() -> None:
    class NoDiscriminator(Victim):
        pass

    victim = NoDiscriminator((1, 8, 8), 4, 1, 1)
    with pytest.raises(NoAccess, match="victim does not grant accessible_discriminator"):
        victim.view(AccessibleDiscriminator, np.zeros(1), np.zeros(1), 8)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [(["victim.steps=0"], "victim.steps=0"), (["victim.z_dim=-1"], "victim.z_dim=-1")],
)
def test_bad_sizes_are_one_clear_line(
    config: Callable[..., DictConfig], overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        dcgan(config, *overrides)


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 32, 16), (20,)])
def test_shapes_that_no_network_fits(config: Callable[..., DictConfig], shape: tuple[int]) -> None:
    with pytest.raises(UserError, match="record"):
        build(config("victim=dcgan").victim, "victim", shape=shape)


@pytest.mark.parametrize("name", names("victim"))
def test_every_victim_says_of_which_family_it_is(
    config: Callable[..., DictConfig], name: str
) -> None:
    """Victims that share a loss and how they are trained are no independent repetitions."""
    kind = get_class(config(f"victim={name}").victim._target_)
    assert kind.family
    if issubclass(kind, WGANGP):
        assert kind.family == WGANGP.family


def test_a_view_that_extends_another_is_more_access() -> None:
    """Those with the attacker's own records are compared with none."""

    class Inverted(WhiteBox):
        """A new one, which stands in no list."""

    found = ordered_pairs()
    for less in ("full_black_box", "partial_black_box", "white_box"):
        assert (less, "inverted") in found
    assert ("full_black_box", "white_box") in found
    assert not [pair for pair in found if "reference" in pair[1] or "shadows" in pair[1]]
    assert not [pair for pair in found if pair[0] == pair[1]]
    for less in ("accessible_denoiser", "weight_gradients"):
        assert found.count((less, "denoiser_with_gradients")) == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_the_step_to_an_image_is_a_transposed_convolution(channels: int) -> None:
    torch.manual_seed(0)
    own, x = ToImage(6, channels), torch.randn(3, 6, 5, 5, requires_grad=True)
    usual = nn.ConvTranspose2d(6, channels, 4, 2, 1)
    usual.load_state_dict(own.state_dict())
    found, expected = own(x), usual(x)
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(found)
    ours = torch.autograd.grad((found * direction).sum(), [x, *own.parameters()])
    theirs = torch.autograd.grad((expected * direction).sum(), [x, *usual.parameters()])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
