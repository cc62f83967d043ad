"""Signatures: in the steady state every operator is a hit, and the cache is bounded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from device_counts import count, misses, reset, steady_state
from device_models import CASES

import torch_remote


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("mlp", torch.optim.Adam),
        ("conv_net", torch.optim.SGD),
        ("transformer_encoder", torch.optim.Adam),
        ("lstm", torch.optim.SGD),
        ("tied_weights", torch.optim.AdamW),
    ],
)
def test_a_training_step_in_steady_state_is_hits_only_and_never_waits(
    name: str, optimizer: type[torch.optim.Optimizer], device: torch.device
) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    model = case.model().to(device)
    x, y = case.inputs().to(device), case.target().to(device)
    steps = optimizer(model.parameters(), lr=1e-3)

    def step() -> None:
        steps.zero_grad()
        case.loss(model(x), y).backward()
        steps.step()

    counts = steady_state(step, device.index)
    assert counts.pop("cache_hits") > 15
    assert counts == dict.fromkeys(counts, 0)


def test_dropout_in_steady_state_is_hits_only(device: torch.device) -> None:
    x = torch.ones(8, 8, device=device)
    counts = steady_state(lambda: torch.nn.functional.dropout(x, 0.5), device.index)
    assert counts["cache_hits"] == 1


def test_another_shape_misses_once(device: torch.device) -> None:
    torch.ones(3, 41, device=device).relu()
    reset()
    torch.ones(3, 43, device=device).relu()
    assert misses()["aten::relu"][0] == 1
    reset()
    torch.ones(3, 43, device=device).relu()
    assert misses() == {}


def test_floats_are_not_part_of_a_signature_and_ints_are(device: torch.device) -> None:
    x = torch.ones(3, 47, device=device)
    x * 2.5
    reset()
    x * 3.5
    assert misses() == {}
    x * 3
    assert misses()["aten::mul.Tensor"][0] == 1
    assert (x * 3.5).sum().item() == pytest.approx(3 * 47 * 3.5)


def test_floats_that_decide_a_shape_are_part_of_the_signature(device: torch.device) -> None:
    assert torch.arange(0.0, 1.0, 0.25, device=device).shape == (4,)
    assert torch.arange(0.0, 1.0, 0.125, device=device).shape == (8,)


def test_the_place_of_a_view_in_its_storage_is_not_part_of_a_signature(device: torch.device) -> None:
    x = torch.arange(12.0).to(device)
    x[0:3].relu()
    reset()
    assert x[6:9].relu().cpu().tolist() == [6.0, 7.0, 8.0]
    assert misses() == {}


def test_flags_of_a_tensor_are_part_of_a_signature(device: torch.device) -> None:
    x = torch.tensor([1 + 2j, 3 - 4j])
    remote = x.to(device)
    for ours, theirs in (
        (remote, x),
        (remote.conj(), x.conj()),
        (remote.imag, x.imag),
        (remote.conj().imag, x.conj().imag),
    ):
        assert torch.equal((ours * 2).cpu(), theirs * 2)


def test_the_default_dtype_is_part_of_a_signature(device: torch.device) -> None:
    whole = torch.arange(4, device=device)
    assert (whole / 2).cpu().tolist() == [0.0, 0.5, 1.0, 1.5]
    torch.set_default_dtype(torch.float64)
    try:
        halves = whole / 2
        assert halves.dtype == torch.float64
        assert halves.cpu().tolist() == [0.0, 0.5, 1.0, 1.5]
    finally:
        torch.set_default_dtype(torch.float32)
    assert (whole / 2).cpu().dtype == torch.float32


def test_a_second_lease_uses_the_signatures_of_the_first(device: torch.device, lease) -> None:
    torch.ones(5, 53, device=device).relu().sum().item()
    with torch_remote.lease(machine="shared", gpu="CPU", name="second", quiet=True) as other:
        reset()
        assert torch.ones(5, 53, device=other.device).relu().sum().item() == 5 * 53
        assert misses() == {}


def test_the_cache_is_bounded_and_what_it_forgot_is_right_again(device: torch.device) -> None:
    bound = 4096
    base = torch.ones(2 * bound + 200, device=device)
    first = base[:1].neg()
    for length in range(2, 2 * bound):
        base[:length].neg()
    assert count("cache_entries", device.index) < 2 * bound
    reset()
    assert base[:1].neg().cpu().tolist() == first.cpu().tolist() == [-1.0]
    assert misses()["aten::neg"][0] == 1


def test_threads_that_share_the_cache_each_get_their_own_values(device: torch.device) -> None:
    def work(thread: int) -> bool:
        generator = torch.Generator().manual_seed(thread)
        right = True
        for _ in range(60):
            length = int(torch.randint(1, 40, (1,), generator=generator))
            x = torch.randn(length, requires_grad=True)
            y = x.detach().to(device).requires_grad_()
            for value in (x, y):
                (value * value + thread).sum().backward()
            right = right and torch.allclose(x.grad, y.grad.cpu())
        return right

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(4)))
