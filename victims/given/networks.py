"""Models from files, Python entries and objects, as functions of one batch."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from victims.errors import UserError
from victims.given.archives import load_program

ONNX_KINDS = {"tensor(float16)": np.float16, "tensor(double)": np.float64}
"""Types of an ONNX input other than float32."""
ENTRY = re.compile(r"[\w.]+:\w+")
"""my_module:function."""


@dataclass(frozen=True)
class Network:
    """A model as a function of one batch.

    call: (n, *inputs) float32 -> (n, ...). inputs: shape of one input, None where the model does
    not say. batch: the only batch size that it takes, None for any. module: what computes it, if
    that is a torch module. size: numbers in one output, which tells it from others that the model
    gives beside it.
    """

    call: Callable[..., Any]
    inputs: tuple[int, ...] | None = None
    batch: int | None = None
    module: nn.Module | None = None
    size: int | None = None

    def to(self, device: torch.device) -> Network:
        """The same model on a device, ready for attacks; what is no torch module stays as it is."""
        if self.module is None:
            return self
        module = on_device(make_ready(self.module), device)
        call = _module_call(module)
        return dataclasses.replace(self, call=lambda *x: call(*(v.to(device) for v in x)))

    def __call__(self, x: Tensor, *more: Tensor) -> Tensor:
        """Outputs (n, ...) float32; a fixed batch size is met by repeating inputs.

        more: what a conditional model takes beside x, (n, ...) each.
        """
        if self.batch is None:
            return self._record_tensor(self.call(x, *more), len(x))
        parts = []
        for rows in torch.arange(len(x), device=x.device).split(self.batch):
            full = rows[torch.arange(self.batch, device=x.device) % len(rows)]
            found = self.call(x[full], *(values[full] for values in more))
            parts.append(self._record_tensor(found, self.batch)[: len(rows)])
        return torch.cat(parts)

    def _record_tensor(self, output: Any, n: int) -> Tensor:
        """The tensor among what a model gives that has the size of a record, as float32."""
        found = _tensors_within(output)
        if len(found) > 1 and self.size is not None:
            found = [tensor for tensor in found if tensor.numel() == n * self.size]
        if len(found) != 1:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in _tensors_within(output))
            raise TypeError(
                f"its output, a {type(output).__name__}, holds {shapes or 'no tensor'}; one tensor "
                f"is needed"
            )
        return found[0].float()


def resolve_model(name: str, source: Any) -> Any:
    """The model that a path or an entry names, or the object itself."""
    if not isinstance(source, str | Path):
        return source
    if not Path(source).exists() and ENTRY.fullmatch(str(source)):
        return call_named(name, str(source))
    path = Path(source)
    if path.is_dir():
        raise UserError(
            f"{name}={source}: it is a folder, a file is needed; an audit takes the folder of a "
            f"diffusers model as diffusion={source}"
        )
    if not path.is_file():
        raise UserError(
            f"{name}={source}: there is no such file; a Python entry is my_module:function"
        )
    return _load_onnx(name, path) if path.suffix == ".onnx" else load_program(name, path)


def as_network(model: Any) -> Network:
    """A model as a function, with what it says about its input."""
    if isinstance(model, Network):
        return model
    if not isinstance(model, nn.Module):
        return Network(model)
    if not isinstance(model, torch.fx.GraphModule):
        return Network(_module_call(model), module=model)
    # A program of torch.export: its mode was fixed when it was exported, its input is in the graph.
    first = next((n for n in model.graph.nodes if n.op == "placeholder"), None)
    example = first.meta.get("val") if first is not None else None
    if not isinstance(example, Tensor):
        return Network(_module_call(model), module=model)
    batch, *inputs = example.shape
    known = tuple(int(side) for side in inputs)
    only = batch if isinstance(batch, int) else None
    return Network(_module_call(model), known, only, model)


def on_device(module: nn.Module, device: torch.device) -> nn.Module:
    """A module there; one of the caller's that is elsewhere stays where it is."""
    here = {tensor.device.type for tensor in (*module.parameters(), *module.buffers())}
    return module if here <= {device.type} else copy.deepcopy(module).to(device)


def make_ready(model: nn.Module) -> nn.Module:
    """The model in evaluation mode, its parameters without gradients."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    if not isinstance(model, torch.fx.GraphModule):  # an exported program has no mode
        model.eval()
    return model


def _module_call(model: nn.Module) -> Callable[..., Any]:
    """A module that is given float32 in the precision of its parameters."""
    floating = (p.dtype for p in (*model.parameters(), *model.buffers()) if p.is_floating_point())
    kind = next(floating, torch.float32)
    return lambda *x: model(*(v.to(kind) if v.is_floating_point() else v for v in x))


def networks_of(model: Any) -> list[Any]:
    """A model and the networks that it consists of, as diffusers' pipelines do."""
    return [model, *(getattr(model, name, None) for name in ("unet", "vae", "vqvae"))]


@contextmanager
def kept_as_before(models: Iterable[Any]) -> Iterator[None]:
    """Afterwards torch modules are as before, also on errors: mode, gradients, device, values."""
    owned = [getattr(getattr(model, "network", model), "module", model) for model in models]
    modules = [model for model in owned if isinstance(model, nn.Module)]
    modes = [(part, part.training) for model in modules for part in model.modules()]
    values = [
        (tensor, tensor.data, tensor.requires_grad)
        for model in modules
        for tensor in model.parameters()
    ]
    buffers = [
        (part, name, tensor)
        for model in modules
        for part in model.modules()
        for name, tensor in part.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for weight, data, gradient in values:
            weight.data = data
            weight.requires_grad_(gradient)
        for part, name, buffer in buffers:
            if getattr(part, name) is not buffer:
                setattr(part, name, buffer)


def call_named(name: str, entry: str, *given: Any, **more: Any) -> Any:
    """What MODULE:FUNCTION gives when it is called; modules of the working folder count too."""
    function = import_function(name, entry)
    with _own_modules(name, entry):
        return function(*given, **more)


def import_function(name: str, entry: str) -> Any:
    """The function that MODULE:FUNCTION names."""
    module, colon, function = entry.partition(":")
    if not (module and colon and function):
        raise UserError(f"{name}={entry}: write it as my_module:function")
    with _own_modules(name, entry):
        return getattr(importlib.import_module(module), function)


@contextmanager
def _own_modules(name: str, entry: str) -> Iterator[None]:
    """Modules of the working folder can be imported, and errors of anyone's code are one line."""
    sys.path.insert(0, "")
    try:
        yield
    except Exception as error:  # anyone's code
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{name}={entry}: {type(error).__name__}: {reason}") from error
    finally:
        sys.path.remove("")


def _load_onnx(name: str, path: Path) -> Network:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"{name}={path}: ONNX files need the package onnxruntime: pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own classes
        reason = str(error).splitlines()[0]
        raise UserError(f"{name}={path}: the model file is damaged ({reason})") from error
    entries = session.get_inputs()
    if len(entries) != 1:
        raise UserError(f"{name}={path}: it takes {len(entries)} inputs, one is needed")

    kind = ONNX_KINDS.get(entries[0].type, np.float32)

    def call(x: Tensor) -> list[Tensor]:
        found = session.run(None, {entries[0].name: x.detach().cpu().numpy().astype(kind)})
        return [torch.from_numpy(np.asarray(values)).to(x.device) for values in found]

    sides = entries[0].shape
    known = all(isinstance(side, int) for side in sides[1:])
    batch = sides[0] if isinstance(sides[0], int) else None
    return Network(call, tuple(sides[1:]) if known else None, batch)


def _tensors_within(output: Any) -> list[Tensor]:
    """All tensors in what a model gives: itself, or within tuples, lists and dicts."""
    if isinstance(output, np.ndarray):
        return [torch.from_numpy(output)]
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if isinstance(output, Mapping) else output
    if isinstance(output, Mapping | tuple | list):
        return [tensor for part in parts for tensor in _tensors_within(part)]
    return []
