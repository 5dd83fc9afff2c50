"""Models from files, Python entries and objects, as functions of one batch."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.audit.archives import load_program
from benchmark.folders import home
from victims.access import UserError


@dataclass(frozen=True)
class Network:
    """A model as a function of one batch.

    call: (n, *inputs) float32 -> (n, ...). inputs: shape of one input, None where the model does
    not say. batch: the only batch size that it takes, None for any. module: what computes it, if
    that is a torch module.
    """

    call: Callable[[Tensor], Any]
    inputs: tuple[int, ...] | None = None
    batch: int | None = None
    module: nn.Module | None = None

    def to(self, device: torch.device) -> Network:
        """The same model on a device, if it is a torch module; others stay where they are."""
        if self.module is None:
            return self
        module = self.module.to(device)
        return dataclasses.replace(self, call=lambda x: module(x.to(device)), module=module)

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs (n, ...) float32; a fixed batch size is met by repeating inputs."""
        if self.batch is None:
            return _tensor(self.call(x)).float()
        parts = []
        for part in x.split(self.batch):
            full = part[torch.arange(self.batch, device=x.device) % len(part)]
            parts.append(_tensor(self.call(full))[: len(part)])
        return torch.cat(parts).float()


def resolve(name: str, source: Any) -> Any:
    """The model that a path or an entry names, or the object itself."""
    if not isinstance(source, str | Path):
        return source
    if not Path(source).exists() and re.fullmatch(r"[\w.]+:\w+", str(source)):
        return _made(name, str(source))
    path = home(source)
    if not path.is_file():
        raise UserError(
            f"{name}={source}: there is no such file; a Python entry is my_module:function"
        )
    return _onnx(name, path) if path.suffix == ".onnx" else load_program(name, path)


def as_network(model: Any) -> Network:
    """A model as a function, with what it says about its input."""
    if isinstance(model, Network):
        return model
    if not isinstance(model, nn.Module):
        return Network(model)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    if not isinstance(model, torch.fx.GraphModule):
        return Network(model.eval(), module=model)
    # A program of torch.export: its mode was fixed when it was exported, its input is in the graph.
    first = next((n for n in model.graph.nodes if n.op == "placeholder"), None)
    example = first.meta.get("val") if first is not None else None
    if not isinstance(example, Tensor):
        return Network(model, module=model)
    batch, *inputs = example.shape
    known = tuple(int(side) for side in inputs)
    return Network(model, known, batch if isinstance(batch, int) else None, model)


def _made(name: str, entry: str) -> Any:
    module, function = entry.split(":")
    sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), function)()
    except Exception as error:  # anyone's code
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{name}={entry}: {type(error).__name__}: {reason}") from error
    finally:
        sys.path.remove("")


def _onnx(name: str, path: Path) -> Network:
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

    def call(x: Tensor) -> Tensor:
        found = session.run(None, {entries[0].name: x.detach().cpu().float().numpy()})
        return torch.from_numpy(np.asarray(found[0])).to(x.device)

    sides = entries[0].shape
    known = all(isinstance(side, int) for side in sides[1:])
    batch = sides[0] if isinstance(sides[0], int) else None
    return Network(call, tuple(sides[1:]) if known else None, batch)


def _tensor(output: Any) -> Tensor:
    if isinstance(output, tuple | list) and len(output) == 1:
        output = output[0]
    if isinstance(output, np.ndarray):
        output = torch.from_numpy(output)
    if not isinstance(output, Tensor):
        raise TypeError(f"its output is a {type(output).__name__}, a tensor is needed")
    return output
