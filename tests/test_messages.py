"""Messages speak of attacks, models and accesses in the words of the config, never by classes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from conftest import composed
from test_architecture import every_file, tree_of

from benchmark.job.prepare import prepare
from benchmark.job.request import open_request
from victims.errors import UserError

OF_USERS = {"type(error)", "type(source)", "type(found)", "type(drawn)", "type(output)", "odd[0]"}
"""What users hand over or their code raises: there the class is the right word."""

ELSEWHERE = {
    "benchmark.job.assemble": "titles and families call a model by its class",
    "benchmark.job.request": "who writes an attack reads the name of its class",
    "benchmark.job.workers": "the function that a new process calls",
    "benchmark.store.keys": "a value that is no JSON",
    "victims.access": "makes the word from the class",
    "victims.given.pipelines": "the class of the user's network",
}

EXPORTED = {"FullBlackBox", "Diffusion"}
"""Classes that users write themselves."""


def test_no_message_is_made_from_the_name_of_a_class() -> None:
    for name, file in every_file().items():
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Attribute) and node.attr == "__name__":
                source = ast.unparse(node.value)
                assert source in OF_USERS or name in ELSEWHERE, f"{name}: {source}.__name__"


def test_no_refusal_writes_the_name_of_a_class() -> None:
    trees = {name: tree_of(file) for name, file in every_file().items()}
    classes = {
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and re.match(r"\w+[a-z][A-Z]", node.name)
    }
    assert "DenoiserWithGradients" in classes
    for name, tree in trees.items():
        for raised in (node for node in ast.walk(tree) if isinstance(node, ast.Raise)):
            for part in (node for node in ast.walk(raised) if isinstance(node, ast.Constant)):
                written = {*re.findall(r"\w+", str(part.value))} & (classes - EXPORTED)
                assert not written, f"{name}: {part.value}"


def test_refusals_of_accesses_use_the_words_of_tables(tmp_path: Path) -> None:
    config = composed(tmp_path, "victim=dcgan", "attack=[encoder,pia]", "calibration=none")
    message = (
        "no attack can run on this victim: the victim does not grant accessible_encoder; the "
        "victim does not grant accessible_denoiser$"
    )
    with pytest.raises(UserError, match=message):
        prepare(open_request(config))
