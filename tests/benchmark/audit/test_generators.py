"""Models from files and objects give the views that the benchmark's victims give."""

from __future__ import annotations

import json
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audit_models import Decoder, closeness, table
from conftest import digits
from torch import Tensor, nn

from victims.access import WhiteBox
from victims.errors import NoAccess, UserError
from victims.given.archives import load_program
from victims.given.generators import Discriminator, Generator
from victims.given.networks import as_network, resolve_model

Z = torch.from_numpy(np.random.default_rng(5).standard_normal((7, 12))).float()


class Small(nn.Module):
    """A generator (n, 12) -> (n, 1, 4, 4) that all formats know."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(12, 16), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).reshape(-1, 1, 4, 4)


def scripted(model: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(model).save(str(path))
    return path


def exported(model: nn.Module, path: Path, fixed: bool = False) -> Path:
    shapes = None if fixed else ({0: torch.export.Dim("n")},)
    program = torch.export.export(model.eval(), (torch.randn(3, 12),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def onnx(model: Small, path: Path, fixed: bool = False) -> Path:
    from onnx import TensorProto, helper, numpy_helper, save

    weight, bias = (p.detach().numpy() for p in model.layers[0].parameters())
    nodes = [
        helper.make_node("Gemm", ["z", "w", "b"], ["h"], transB=1),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Reshape", ["t", "s"], ["x"]),
    ]
    constants = {"w": weight, "b": bias, "s": np.array([-1, 1, 4, 4])}
    n = 3 if fixed else "n"
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [n, 12])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [n, 1, 4, 4])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 10
    save(made, path)
    return path


FORMATS: dict[str, Callable[[Path], Any]] = {
    "TorchScript": lambda to: scripted(Small(), to / "g.pt"),
    "torch.export": lambda to: exported(Small(), to / "g.pt2"),
    "torch.export, fixed batch": lambda to: exported(Small(), to / "g.pt2", fixed=True),
    "ONNX": lambda to: onnx(Small(), to / "g.onnx"),
    "ONNX, fixed batch": lambda to: onnx(Small(), to / "g.onnx", fixed=True),
    "module": lambda to: Small(),
}


@pytest.mark.parametrize("kind", ["torch.export", "ONNX", "ONNX, fixed batch"])
def test_another_size_than_the_model_declares_is_refused(kind: str, tmp_path: Path) -> None:
    model = FORMATS[kind](tmp_path)
    told = r"generator\.z=17: the model declares 12; leave generator\.z out"
    with pytest.raises(UserError, match=told):
        Generator(model, z=17)
    with pytest.raises(UserError, match=r"generator\.z=\[12,1,1\]: the model declares 12"):
        Generator(model, z=[12, 1, 1])
    assert Generator(model, z=12).z_dim == 12


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_generates_the_same_and_knows_whether_it_is_differentiable(
    kind: str, tmp_path: Path
) -> None:
    known = 12 if kind in ("TorchScript", "module") else None  # the others say so themselves
    generator = Generator(FORMATS[kind](tmp_path), z=known)
    generator.check((1, 4, 4))
    assert generator.z_dim == 12
    expected = Small()(Z).detach()
    torch.testing.assert_close(generator(Z).detach(), expected, atol=1e-6, rtol=1e-5)
    assert generator.is_differentiable() == (not kind.startswith("ONNX"))


@pytest.mark.parametrize("moment", ["forward", "backward"])
def test_a_generator_that_fails_with_gradients_is_not_differentiable(moment: str) -> None:
    """It ended the audit with a traceback, though attacks without a gradient can run."""

    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(context, z):
            return z * 2

        @staticmethod
        def backward(context, gradient):
            raise RuntimeError("no backward pass")

    class Network(torch.nn.Module):
        def forward(self, z):
            if moment == "forward" and z.requires_grad:
                raise RuntimeError("in place")
            return Fails.apply(z)

    assert not Generator(Network(), z=4).is_differentiable()


def test_codes_have_the_shape_and_prior_that_the_generator_wants() -> None:
    seen: list[Tensor] = []

    def model(z: Tensor) -> Tensor:
        seen.append(z)
        return z.flatten(1)

    Generator(model, z=[6, 1, 1], prior="uniform")(torch.linspace(-3, 3, 60).reshape(10, 6))
    assert seen[0].shape == (10, 6, 1, 1)
    assert seen[0].min() == pytest.approx(2 * 0.0013499 - 1, abs=1e-4)  # the normal's tail
    with pytest.raises(UserError, match=r"generator\.z=100"):
        Generator(nn.Linear(3, 3))


def test_the_size_of_the_code_is_read_from_the_model(tmp_path: Path) -> None:
    class Named(Small):
        def __init__(self) -> None:
            super().__init__()
            self.z_dim = 12

    assert Generator(Named()).z_dim == 12
    assert Generator(scripted(Named(), tmp_path / "g.pt")).z_dim == 12


def test_outputs_that_are_rearranged_are_said_to_be() -> None:
    def last(z: Tensor) -> Tensor:
        return torch.tanh(z).repeat(1, 12).reshape(len(z), 4, 4, 3)

    generator = Generator(last, z=4)
    generator.check((3, 4, 4))
    assert generator.notes == ["generator: outputs of shape [4, 4, 3] are read as [3, 4, 4]"]
    assert generator(torch.zeros(2, 4)).shape == (2, 3, 4, 4)


def test_an_entry_is_imported_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_code.py").write_text(
        "import torch\ndef make():\n    layer = torch.nn.Linear(4, 6)\n    layer.z_dim = 4\n"
        "    return layer\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert Generator("their_code:make").z_dim == 4
    with pytest.raises(UserError, match="has no attribute"):
        Generator("their_code:missing")


def test_a_sampler_of_rows_gives_samples_only(audited: Callable[..., Any]) -> None:
    def sampler(n: int) -> Any:
        return table(9, n)

    found = audited(
        "bank.size=150", members=table(0, 100), non_members=table(1, 100), generator=sampler
    )
    status = found.result.rows.set_index("attack")["status"]
    assert status["full_black_box"] == "ok"
    assert "no generator is given" in status["white_box"]
    assert found.facts.released == 150
    with pytest.raises(UserError, match="asked for 64 samples, it gives a DataFrame of length 3"):
        audited(
            "bank.size=64", members=table(0, 100), non_members=table(1, 100),
            generator=lambda n: table(9, 3),
        )  # fmt: skip


def test_a_generator_of_rows_is_attacked_in_standardised_columns(
    audited: Callable[..., Any],
) -> None:
    rng = np.random.default_rng(0)
    spread = 10.0 ** rng.integers(-4, 5, 8)  # euros beside kilometres
    rows = [rng.standard_normal((60, 8)) * spread + 5 * spread for _ in range(2)]
    members = torch.from_numpy(rows[0]).float()
    found = audited(
        "bank.size=400", "attack.white_box.max_evals=60", "attack.partial_black_box.max_evals=60",
        members=rows[0], non_members=rows[1], generator=Decoder(members),
    )  # fmt: skip
    auroc = found.result.rows.set_index("attack")["auroc"]
    assert auroc["white_box"] > 0.8
    assert auroc["full_black_box"] > 0.8


def test_categories_cannot_meet_a_network(audited: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="town hold categories"):
        audited(
            members=table(0, 50), non_members=table(1, 50), samples=table(2, 50),
            discriminator=nn.Linear(4, 1),
        )  # fmt: skip


@pytest.mark.parametrize("low_high", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_a_generators_range_is_recognised(
    audited: Callable[..., Any], low_high: tuple[float, float]
) -> None:
    members, (low, high) = digits(0, 40), low_high
    inside = Decoder((members + 1) / 2 * (high - low) + low)
    said = ["generator.range=[0,1]"] if high == 1 and low == 0 else []
    if said:  # these could be [-1, 1] as well
        with pytest.raises(UserError, match=r"generator\.range=\[0,1\]"):
            audited(
                "bank.size=64", members=members.numpy(), non_members=digits(1, 40).numpy(),
                generator=inside,
            )  # fmt: skip
    found = audited(
        "attack=[full_black_box]", "bank.size=200", *said, members=members.numpy(),
        non_members=digits(1, 40).numpy(), generator=inside,
    )  # fmt: skip
    plain = audited(
        "attack=[full_black_box]", "bank.size=200", members=members.numpy(),
        non_members=digits(1, 40).numpy(), generator=Decoder(members),
    )  # fmt: skip
    ours, theirs = (audit.result.scores["score"].to_numpy() for audit in (found, plain))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_discriminator_sees_pixels_in_its_own_range() -> None:
    seen: list[Tensor] = []

    def model(x: Tensor) -> Tensor:
        seen.append(x)
        return x.flatten(1).mean(1)

    from benchmark.audit.given.space import ImageSpace

    x = torch.tensor([[[[-1.0, 0.0, 1.0]]]]).expand(2, 1, 1, 3)
    Discriminator(model)(ImageSpace((1, 1, 3), 0, 255).to_model(x))
    torch.testing.assert_close(seen[0][0, 0, 0], torch.tensor([0.0, 127.5, 255.0]))


def test_views_hold_what_was_given_and_nothing_else(
    audit_config: Callable[..., Any], tmp_path: Path
) -> None:
    from benchmark.audit.given.gather import open_case
    from benchmark.audit.request import open_request
    from victims.access import AccessibleDiscriminator, FullBlackBox

    given = {"members": digits(0, 20).numpy(), "non_members": digits(1, 20).numpy()}
    case = open_case(
        open_request(audit_config(), given | {"discriminator": closeness(digits(0, 20))})
    )
    assert set(vars(case.view(AccessibleDiscriminator))) == {
        "device", "batch_size", "discriminate",
    }  # fmt: skip
    with pytest.raises(NoAccess, match="no samples and no generator"):
        case.view(FullBlackBox)
    with pytest.raises(NoAccess):
        case.view(WhiteBox)


# --- archives that could run code -----------------------------------------------------------------


def rewritten(path: Path, change: Callable[[str, bytes], bytes], extra: dict[str, bytes]) -> Path:
    """The archive with changed entries, and more of them."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(entries)).split("/")[0]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, change(name, content))
        for name, content in extra.items():
            archive.writestr(f"{root}/{name}", content)
    return path


def edited(path: Path, edit: Callable[[Any], None], ending: str = "models/model.json") -> Path:
    def change(name: str, content: bytes) -> bytes:
        if not name.endswith(ending):
            return content
        tree = json.loads(content)
        edit(tree)
        return json.dumps(tree).encode()

    return rewritten(path, change, {})


def first(tree: Any, key: str) -> dict[str, Any]:
    """The first mapping with this key."""
    if isinstance(tree, dict):
        if key in tree:
            return tree
        tree = list(tree.values())
    for branch in tree if isinstance(tree, list) else []:
        if found := first(branch, key):
            return found
    return {}


def test_an_exported_graph_that_calls_anything_else_is_refused(tmp_path: Path) -> None:
    path = edited(
        exported(Small(), tmp_path / "g.pt2"),
        lambda tree: first(tree, "target").update(target="torch.os.system"),
    )
    with pytest.raises(UserError, match=r"torch\.os\.system.*refused"):
        load_program("generator", path)


def test_a_shape_that_sympy_would_run_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    code = f"__import__('pathlib').Path('{trace}').touch()"
    path = edited(
        exported(Small(), tmp_path / "g.pt2"),
        lambda tree: first(tree, "expr_str").update(expr_str=code),
    )
    with pytest.raises(UserError, match="could run code"):
        load_program("generator", path)
    assert not trace.exists()


def test_pickled_weights_of_an_exported_program_are_refused(tmp_path: Path) -> None:
    path = edited(
        exported(Small(), tmp_path / "g.pt2"),
        lambda tree: first(tree, "use_pickle").update(use_pickle=True),
        "model_weights_config.json",
    )
    with pytest.raises(UserError, match="use_pickle"):
        load_program("generator", path)


@pytest.mark.parametrize(
    "name", ["data/aotinductor/model/m.so", "data/constants/opaque_obj_0", "extra.pkl"]
)
def test_anything_but_tensors_in_an_exported_program_is_refused(name: str, tmp_path: Path) -> None:
    path = rewritten(exported(Small(), tmp_path / "g.pt2"), lambda _, c: c, {name: b"code"})
    with pytest.raises(UserError, match="could run code"):
        load_program("generator", path)


@pytest.mark.parametrize("make", [scripted, exported])
@pytest.mark.parametrize("ending", ["data.pkl", "sample_inputs/model.pt"])
def test_a_pickle_hidden_in_an_archive_does_not_run(
    make: Callable[..., Path], ending: str, tmp_path: Path
) -> None:
    import pickle

    trace = tmp_path / "trace"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (trace,)

    path = make(Small(), tmp_path / "g.pt2")
    torch.save(Evil(), tmp_path / "evil.pt")
    evil = pickle.dumps(Evil()) if ending == "data.pkl" else (tmp_path / "evil.pt").read_bytes()
    rewritten(path, lambda name, c: evil if name.endswith(ending) else c, {})
    if ending in "".join(zipfile.ZipFile(path).namelist()):
        with pytest.raises(UserError, match=r"damaged|refused"):
            load_program("generator", path)
    assert not trace.exists()


def test_a_whole_program_still_loads(tmp_path: Path) -> None:
    network = as_network(resolve_model("generator", exported(Small(), tmp_path / "g.pt2")))
    assert network.inputs == (12,)
