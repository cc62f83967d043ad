"""PyTorch's own operator samples, on the remote device and on the CPU: results, gradients, strided inputs, in place, out=.

`operators.toml` lists what is skipped, and why. Every other operator of the listed families must pass: an entry that is no longer needed
fails too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import BinaryUfuncInfo, ReductionOpInfo, UnaryUfuncInfo
from torch.utils._pytree import tree_leaves, tree_map

if sys.version_info >= (3, 11):
    import tomllib
else:
    import pip._vendor.tomli as tomllib

RECORD = tomllib.loads(Path(__file__).with_name("operators.toml").read_text())
RANDOM = re.compile("|".join(RECORD["random"]))


def full_name(op: Any) -> str:
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else str(op.name)


OPERATORS = {
    full_name(op): op for op in op_db if torch.float32 in op.supported_dtypes("cpu") and "jiterator" not in op.name
}


def on(device: torch.device | str, values: Any) -> Any:
    """The same arguments on another device."""

    def move(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.detach().to(device).requires_grad_(value.requires_grad)
        return torch.device(device) if isinstance(value, torch.device) else value

    return tree_map(move, values)


def spread(values: Any, device: torch.device | str) -> Any:
    """The same arguments with every second element of a larger tensor as their storage."""

    def move(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided:
            return value
        if value.dim() == 0:
            return value.detach().to(device)
        room = torch.zeros(*value.shape[:-1], value.shape[-1] * 2, dtype=value.dtype, device=device)
        room[..., ::2] = value.detach().to(device)
        return room[..., ::2]

    return tree_map(move, values)


def assert_same(ours: Any, theirs: Any, name: str) -> None:
    ours, theirs = tree_leaves(ours), tree_leaves(theirs)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        if not isinstance(other, torch.Tensor):
            assert RANDOM.search(name) or one == other or one == pytest.approx(other, rel=1e-4, abs=1e-4, nan_ok=True)
            continue
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        if not RANDOM.search(name):
            torch.testing.assert_close(one.detach().cpu(), other.detach(), rtol=1e-4, atol=1e-4, equal_nan=True)


def expected(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What the CPU answers; a sample that the CPU refuses says nothing."""
    try:
        return call(*arguments, **named)
    except Exception as refused:
        return refused


def samples(op: Any, count: int = 1, requires_grad: bool = False, dtype: torch.dtype = torch.float32) -> Iterator[Any]:
    torch.manual_seed(0)
    return islice(op.sample_inputs("cpu", dtype, requires_grad=requires_grad), count)


def comparable(sample: Any, result: Any) -> Any:
    """The part of a result that is unique (of eigenvectors, not their sign)."""
    return sample.output_process_fn_grad(result) if sample.output_process_fn_grad is not None else result


def keywords(sample: Any, device: torch.device) -> Any:
    return {key: device if key == "device" else value for key, value in on(device, sample.kwargs).items()}


def forward(op: Any, device: torch.device, count: int = 3, dtype: torch.dtype = torch.float32) -> None:
    for sample in samples(op, count, dtype=dtype):
        theirs = expected(op.op, on("cpu", sample.input), *sample.args, **sample.kwargs)
        if not isinstance(theirs, Exception):
            ours = op.op(on(device, sample.input), *on(device, sample.args), **keywords(sample, device))
            assert_same(comparable(sample, ours), comparable(sample, theirs), op.name)


def strided(op: Any, device: torch.device) -> None:
    for sample in samples(op):
        values = (sample.input, sample.args, sample.kwargs)
        first, rest, named = spread(values, "cpu")
        theirs = expected(op.op, first, *rest, **named)
        if not isinstance(theirs, Exception):
            first, rest, named = spread(values, device)
            named = {key: device if key == "device" else value for key, value in named.items()}
            assert_same(comparable(sample, op.op(first, *rest, **named)), comparable(sample, theirs), op.name)


def backward(op: Any, device: torch.device) -> None:
    for sample in samples(op, count=2, requires_grad=True) if op.supports_autograd else ():
        values = (sample.input, sample.args, sample.kwargs)
        theirs = expected(gradients, op, sample, *values)
        if not isinstance(theirs, Exception):
            ours = gradients(op, sample, on(device, sample.input), on(device, sample.args), keywords(sample, device))
            assert_same(ours, theirs, op.name)


def gradients(op: Any, sample: Any, first: Any, rest: Any, named: Any) -> list[Any]:
    outputs = [
        x
        for x in tree_leaves(comparable(sample, op.op(first, *rest, **named)))
        if isinstance(x, torch.Tensor) and x.requires_grad
    ]
    inputs = [x for x in tree_leaves((first, rest, named)) if isinstance(x, torch.Tensor) and x.requires_grad]
    torch.manual_seed(1)
    seeds = [torch.randn(x.shape, dtype=x.dtype).to(x.device) for x in outputs]
    return (
        [x for x in torch.autograd.grad(outputs, inputs, seeds, allow_unused=True) if x is not None]
        if outputs and inputs
        else []
    )


def in_place(op: Any, device: torch.device) -> None:
    for sample in samples(op) if op.inplace_variant is not None else ():
        copy = tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, sample.input)
        ours = on(device, sample.input)
        theirs = expected(op.inplace_variant, copy, *sample.args, **sample.kwargs)
        if not isinstance(theirs, Exception):
            returned = op.inplace_variant(ours, *on(device, sample.args), **keywords(sample, device))
            assert_same(returned, theirs, op.name)
            assert_same(ours, copy, op.name)


def out(op: Any, device: torch.device) -> None:
    for sample in samples(op) if op.supports_out else ():
        plain = expected(op.op, sample.input, *sample.args, **sample.kwargs)
        if isinstance(plain, Exception) or not all(isinstance(x, torch.Tensor) for x in tree_leaves(plain)):
            continue
        for empty in (False, True):
            shaped = lambda x, where: torch.empty((0,) if empty else x.shape, dtype=x.dtype, device=where)  # noqa: B023, E731
            theirs, ours = (tree_map(lambda x: shaped(x, where), plain) for where in ("cpu", device))  # noqa: B023
            done = expected(op.op, sample.input, *sample.args, **sample.kwargs, out=theirs)
            if not isinstance(done, Exception):
                op.op(on(device, sample.input), *on(device, sample.args), **keywords(sample, device), out=ours)
                assert_same(ours, theirs, op.name)


MODES = {"forward": forward, "backward": backward, "strided": strided, "in_place": in_place, "out": out}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.filterwarnings("ignore")
def test_an_operator_answers_as_on_the_cpu(name: str, device: torch.device) -> None:
    skipped = RECORD["skip"].get(name, {})
    for mode, run in MODES.items():
        if mode in skipped:
            continue
        try:
            run(OPERATORS[name], device)
        except Exception as error:
            raise AssertionError(f"{name}, {mode}: {error}") from error


# Families whose results' dtypes are decided by promotion. Every third operator: each costs a miss, and float32 has them all.
PROMOTED = (BinaryUfuncInfo, ReductionOpInfo, UnaryUfuncInfo)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bfloat16])
@pytest.mark.parametrize("family", PROMOTED)
@pytest.mark.filterwarnings("ignore")
def test_whole_numbers_and_bfloat16_answer_as_on_the_cpu(
    family: type, dtype: torch.dtype, device: torch.device
) -> None:
    of_family = [name for name, op in OPERATORS.items() if isinstance(op, family)][::3]
    wrong: list[str] = []
    for name in of_family:
        op = OPERATORS[name]
        if dtype in op.supported_dtypes("cpu") and "forward" not in RECORD["skip"].get(name, {}):
            try:
                forward(op, device, count=1, dtype=dtype)
            except Exception as error:
                wrong.append(f"{name}: {error}")
    assert len(of_family) > 5
    assert wrong == []


@pytest.mark.parametrize("name", list(RECORD["skip"]))
@pytest.mark.filterwarnings("ignore")
def test_a_skipped_operator_still_needs_to_be_skipped(name: str, device: torch.device) -> None:
    for mode, reason in RECORD["skip"][name].items():
        assert reason, f"{name}, {mode}: no reason"
        with pytest.raises(Exception):  # noqa: B017, PT011
            MODES[mode](OPERATORS[name], device)
