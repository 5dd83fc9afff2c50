from functools import partial

import numpy as np
import pytest
import torch
from conftest import built, fit_in, stopped_at_batch_three
from torch import nn

from victims.access import AccessibleDiscriminator, AccessibleEncoder, WhiteBox
from victims.errors import NoAccess, UserError
from victims.networks import ConvDiscriminator, ConvGenerator
from victims.training.losses import gradient_penalty, mixing_draws
from victims.training.train import load_victim
from victims.wgan_gp import WGANGP, MLPCritic, MLPGenerator, ResidualCritic, ResidualGenerator

NETWORKS = {
    "residual": (
        (1, 8, 8),
        partial(ResidualGenerator, width=4),
        partial(ResidualCritic, width=4),
    ),
    "dcgan": (
        (1, 8, 8),
        partial(ConvGenerator, width=4),
        partial(ConvDiscriminator, width=4, norm=None),
    ),
    "table": (
        (5,),
        partial(MLPGenerator, width=8, output=nn.Softplus()),
        partial(MLPCritic, width=8),
    ),
}


def make(networks: str, **changes) -> WGANGP:
    shape, generator, critic = NETWORKS[networks]
    torch.manual_seed(0)
    settings = {"z_dim": 3, "steps": 4, "batch_size": 6, "n_critic": 2, "penalty": 10.0}
    settings |= {"learning_rate": 1e-3, "beta1": 0.0, "beta2": 0.9} | changes
    given = {"shape": shape, "generator": generator, "critic": critic}
    return built(WGANGP, "victim", given, **settings)


def records(networks: str) -> torch.Tensor:
    return torch.rand(12, *NETWORKS[networks][0], generator=torch.Generator().manual_seed(1))


def train(victim: WGANGP, data: torch.Tensor, folder) -> None:
    fit_in(folder, victim, lambda rows: data[rows], size=len(data), seed=7)


@pytest.mark.parametrize("networks", NETWORKS)
def test_two_trainings_and_a_reload_sample_identically(networks, tmp_path):
    z, data = torch.randn(5, 3), records(networks)
    untrained = make(networks).freeze_for_release().generate(z)
    victim = make(networks)
    train(victim, data, tmp_path)
    again = load_victim(make(networks), tmp_path)
    samples = victim.freeze_for_release().generate(z)
    assert torch.equal(again.generate(z), samples)
    assert samples.shape == (5, *victim.shape)
    assert not torch.equal(samples, untrained)


def test_a_stopped_training_ends_in_the_weights_of_an_uninterrupted_one(tmp_path):
    """Stopped after an odd number of critic steps: the generator's turn must not shift."""
    data, whole = records("table"), make("table")
    train(whole, data, tmp_path)
    stopped = stopped_at_batch_three(lambda: make("table"), data, tmp_path / "b")
    for name, value in whole.state_dict().items():
        assert torch.equal(stopped.state_dict()[name], value), name


def test_the_generator_steps_once_in_n_critic(monkeypatch):
    victim, taken = make("table", n_critic=3), []
    optimizers = victim.configure_optimizers()
    monkeypatch.setattr(victim, "optimizers", lambda: optimizers)
    monkeypatch.setattr(victim, "descend", lambda optimizer, loss, name: taken.append(name))
    for i in range(6):
        victim.training_step(records("table")[: victim.batch_size], i)
    assert taken == ["critic", "critic", "critic", "generator"] * 2


def test_penalty_of_a_linear_critic_has_a_closed_form():
    weight = torch.tensor([3.0, -4.0, 12.0])
    real, fake = torch.randn(7, 3), torch.randn(7, 3)
    penalty = gradient_penalty(lambda x: x @ weight, real, fake, mixing_draws(real))
    torch.testing.assert_close(penalty, torch.full((7,), (13.0 - 1.0) ** 2))


def test_penalty_and_its_weight_gradient_match_one_record_at_a_time():
    torch.manual_seed(3)
    critic = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1), nn.Flatten(0)).double()
    real, fake = torch.randn(5, 4).double(), torch.randn(5, 4).double()
    share = mixing_draws(real)
    penalty = gradient_penalty(critic, real, fake, share).mean()
    between = fake + share * (real - fake)

    def reference(first, first_bias, second, _):
        hidden = torch.tanh(between @ first.T + first_bias)
        slopes = ((1 - hidden**2) * second) @ first  # of tanh, by the chain rule
        return ((slopes.pow(2).sum(1).sqrt() - 1) ** 2).mean()

    weights = list(critic.parameters())
    assert penalty.item() == pytest.approx(reference(*weights).item(), rel=1e-6)
    found = torch.autograd.grad(penalty, weights[0])[0]
    wanted = torch.autograd.grad(reference(*weights), weights[0])[0]
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("networks", NETWORKS)
def test_released_generator_and_critic_treat_each_row_by_itself(networks):
    victim = make(networks).freeze_for_release()
    z, x = torch.randn(6, 3), records(networks)
    alone = torch.cat([victim.generate(row[None]) for row in z])
    torch.testing.assert_close(victim.generate(z), alone, rtol=1e-4, atol=1e-4)
    alone = torch.cat([victim.discriminate(row[None]) for row in x])
    torch.testing.assert_close(victim.discriminate(x), alone, rtol=1e-4, atol=1e-4)


def test_views():
    victim = make("residual").freeze_for_release()
    arrays = np.zeros((2, 1, 8, 8), np.float32), np.zeros((2, 3), np.float32)
    z = torch.zeros(2, 3, requires_grad=True)
    victim.view(WhiteBox, *arrays, 4).differentiate(z).sum().backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0
    scores = victim.view(AccessibleDiscriminator, *arrays, 4).discriminate(records("residual"))
    assert scores.shape == (12,)
    with pytest.raises(NoAccess):
        victim.view(AccessibleEncoder, *arrays, 4)


@pytest.mark.parametrize("networks", NETWORKS)
def test_no_batch_normalisation_in_the_critic(networks):
    norms = [m for m in make(networks).discriminator.modules() if "BatchNorm" in type(m).__name__]
    assert norms == []


def test_networks_that_do_not_fit_the_records_are_refused():
    with pytest.raises(UserError, match="makes table rows"):
        MLPGenerator((1, 8, 8), 3, 8, nn.Softplus())
    with pytest.raises(UserError, match="makes images"):
        ResidualCritic((168,), 4)
    with pytest.raises(UserError, match="n_critic=0"):
        make("table", n_critic=0)


def test_counts_are_not_negative():
    victim = make("table")
    with torch.no_grad():
        victim.generator.layers[-2].bias -= 10.0
    assert victim.generate(torch.randn(200, 3)).min() >= 0.0


@pytest.mark.slow
def test_the_table_victim_learns_the_rates_of_counts():
    """Poisson counts of two rates in two kinds of records: means and their correlation."""
    generator = np.random.default_rng(0)
    kind = generator.integers(0, 2, (512, 1))
    data = torch.from_numpy(generator.poisson(np.where(kind, [4, 4, 0.2], [0.2, 0.2, 4])))
    torch.manual_seed(0)
    victim = WGANGP(
        shape=(3,),
        generator=partial(MLPGenerator, width=64, output=nn.Softplus()),
        critic=partial(MLPCritic, width=64),
        **{"z_dim": 4, "steps": 1500, "batch_size": 64, "n_critic": 5, "penalty": 10.0},
        **{"learning_rate": 1e-3, "beta1": 0.0, "beta2": 0.9},
    )
    optimizers = victim.configure_optimizers()
    victim.optimizers = lambda: optimizers
    victim.manual_backward = lambda loss: loss.backward()
    late = []  # the last step alone circles around the optimum, on some processors far from it
    for i in range(victim.steps):
        victim.training_step(data[generator.integers(0, 512, 64)].float(), i)
        if i >= 1000 and i % 50 == 49:
            late.append(victim.generate(torch.randn(200, 4)).numpy())
    samples = np.concatenate(late)
    np.testing.assert_allclose(samples.mean(0), data.double().mean(0), atol=0.5)
    assert np.corrcoef(samples.T)[0, 1] > 0.4
    assert np.corrcoef(samples.T)[0, 2] < -0.3
