"""Random numbers: (seed, count) are the client's, per device."""

from __future__ import annotations

import pytest
import torch
from device_counts import count, reset
from torch import nn
from torch.utils.checkpoint import checkpoint


def draw(device: torch.device, generator: torch.Generator | None = None) -> list[float]:
    return torch.rand(6, device=device, generator=generator).cpu().tolist()


def test_the_same_seed_draws_the_same_numbers_and_the_next_call_others(device: torch.device) -> None:
    torch.manual_seed(5)
    first, second = draw(device), draw(device)
    torch.manual_seed(5)
    assert [draw(device), draw(device)] == [first, second]
    assert first != second


def test_the_state_is_read_and_set_without_a_round_trip(device: torch.device) -> None:
    torch.rand(3, device=device)
    reset()
    state = torch.remote.get_rng_state(device)
    first = torch.rand(6, device=device)
    torch.remote.set_rng_state(state, device)
    second = torch.rand(6, device=device)
    assert count("reads", device.index) == count("calls_now", device.index) == 0
    assert torch.equal(first.cpu(), second.cpu())


def test_a_generator_of_ones_own_does_not_disturb_the_default(device: torch.device) -> None:
    own = torch.Generator(device).manual_seed(3)
    torch.manual_seed(5)
    expected = draw(device)
    torch.manual_seed(5)
    mine = draw(device, own)
    assert draw(device) == expected
    own.manual_seed(3)
    assert draw(device, own) == mine
    copy = own.clone_state()
    assert draw(device, own) == draw(device, copy)


def test_a_state_of_another_size_is_refused(device: torch.device) -> None:
    with pytest.raises(RuntimeError, match="16 bytes"):
        torch.Generator(device).set_state(torch.zeros(7, dtype=torch.uint8))


def test_fork_rng_restores_the_device(device: torch.device) -> None:
    torch.manual_seed(1)
    with torch.random.fork_rng([device.index], device_type="remote"):
        inside = draw(device)
    assert draw(device) == inside


def test_dropout_scales_what_it_keeps(device: torch.device) -> None:
    kept = nn.functional.dropout(torch.ones(4000, device=device), 0.25).cpu()
    assert kept.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert 0.7 < (kept != 0).float().mean().item() < 0.8


def test_a_checkpointed_segment_draws_the_same_dropout_again(device: torch.device) -> None:
    torch.manual_seed(2)
    segment = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)).to(device)
    x = torch.randn(4, 8).to(device).requires_grad_()
    state = torch.remote.get_rng_state(device)
    checkpoint(segment, x, use_reentrant=False).sum().backward()
    recomputed = x.grad.cpu()
    x.grad = None
    torch.remote.set_rng_state(state, device)
    segment(x).sum().backward()
    assert torch.equal(x.grad.cpu(), recomputed)
