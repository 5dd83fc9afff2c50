"""What generators and discriminators of others look like; they stay as they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from victims.errors import UserError
from victims.given.generators import Discriminator, Generator
from victims.given.networks import kept_as_before

SHAPE = (3, 4, 5)


class Net(nn.Module):
    """(n, 6) -> (n, 3, 4, 5), then whatever `form` makes of that."""

    def __init__(self, form: Callable[[Tensor], Any] = lambda x: x) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.form = nn.Linear(6, 60), form
        self.norm = nn.BatchNorm1d(60)

    def forward(self, z: Tensor) -> Any:
        return self.form(self.norm(self.linear(z)).reshape(-1, *SHAPE))


FORMS: dict[str, Callable[[Tensor], Any]] = {
    "flat": lambda x: x.flatten(1),
    "channels last": lambda x: x.permute(0, 2, 3, 1),
    "tuple": lambda x: (x, x.mean((1, 2, 3))),
    "dict": lambda x: {"features": x[:, :1], "sample": x},
}


def expected(z: Tensor) -> Tensor:
    with torch.no_grad():
        return Net().eval()(z)


def checked(model: Any, **settings: Any) -> Generator:
    generator = Generator(model, **settings)
    generator.network = generator.network.to(torch.device("cpu"))
    generator.check(SHAPE)
    return generator


@pytest.mark.parametrize("form", FORMS)
def test_outputs_of_every_form_are_the_same_records(form: str) -> None:
    z = torch.randn(5, 6)
    generator = checked(Net(FORMS[form]), z=6)
    torch.testing.assert_close(generator(z).detach(), expected(z))
    assert generator.is_differentiable()


@pytest.mark.parametrize(("kind", "close"), [(torch.float64, 1e-6), (torch.bfloat16, 0.1)])
def test_models_of_another_precision_are_given_theirs(kind: torch.dtype, close: float) -> None:
    z = torch.randn(5, 6)
    made = checked(Net().to(kind), z=6)(z)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made.detach(), expected(z), atol=close, rtol=close)


def test_a_fixed_batch_is_filled() -> None:
    class Fixed(Net):
        def forward(self, z: Tensor) -> Any:
            return super().forward(z.reshape(16, 6))

    z = torch.randn(5, 6)
    torch.testing.assert_close(checked(Fixed(), z=6)(z).detach(), expected(z))


def test_a_conditional_generator_is_given_labels_that_its_code_decides() -> None:
    class Conditional(Net):
        def forward(self, z: Tensor, labels: Tensor) -> Any:
            return super().forward(z) * 0 + labels[:, None, None, None]

    with pytest.raises(UserError, match=r"generator\.labels=10 draws 0 to 9"):
        checked(Conditional(), z=6)
    drawn = checked(Conditional(), z=6, labels=4)(torch.randn(400, 7))[:, 0, 0, 0]
    counts = torch.bincount(drawn.long())
    assert len(counts) == 4
    assert counts.min() > 60  # 100 expected, standard deviation 8.7
    assert set(
        checked(Conditional(), z=6, labels=[3, 7])(torch.randn(50, 7)).unique().tolist()
    ) <= {3, 7}


@pytest.mark.parametrize("z", ["4x1", 1.5, [], [4, 0], True, "4"])
def test_a_code_of_no_size_is_one_line(z: Any) -> None:
    with pytest.raises(UserError, match=r"generator\.z=.*a whole number"):
        Generator(Net(), z=z)
    assert Generator(Net(), z=16.0).z_shape == Generator(Net(), z=16).z_shape == (16,)


def test_an_object_that_samples_is_asked_for_samples() -> None:
    class Synthesizer:
        def sample(self, n: int) -> np.ndarray:
            return np.zeros((n, 2))

    generator = Generator(Synthesizer())
    assert generator.sample is not None
    assert generator.sample(3).shape == (3, 2)


def test_a_module_is_left_as_it_was_on_errors_too() -> None:
    model = Net()
    model.norm.eval()
    model.linear.bias.requires_grad_(False)
    buffer = model.norm.running_mean

    def audit() -> None:
        with kept_as_before([model, None, Discriminator(model)]):
            checked(model, z=6)
            assert not model.training
            model.double()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        audit()
    assert model.training
    assert model.linear.training
    assert not model.norm.training
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.norm.running_mean is buffer


def test_patch_maps_and_two_logits_are_one_number() -> None:
    x = torch.randn(4, *SHAPE)
    mean = x.mean((1, 2, 3))
    for form in (
        lambda v: v.mean(1, keepdim=True),
        lambda v: v.mean(1),
        lambda v: torch.stack([v.mean((1, 2, 3)) * 0, v.mean((1, 2, 3))], 1),
        lambda v: (v.mean((1, 2, 3)), v),
    ):
        torch.testing.assert_close(Discriminator(form)(x), mean)
    with pytest.raises(UserError, match="it gives shape"):
        Discriminator(lambda v: v.flatten(1)[:, :7]).check(x)
