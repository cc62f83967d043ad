"""The generated files of csrc are what their generators write from the PyTorch that is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parent.parent / "csrc"


@pytest.mark.parametrize(
    ("generator", "generated"),
    [
        ("aten/generate_operators.py", "aten/Operators.generated.inc"),
        ("meta/generate_meta.py", "meta/MetaTable.generated.cpp"),
    ],
)
def test_a_generated_file_is_what_its_generator_writes(generator: str, generated: str) -> None:
    spec = importlib.util.spec_from_file_location("generator", CSRC / generator)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.text() == (CSRC / generated).read_text(), f"run {generator}"
