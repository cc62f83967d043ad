"""Crossings between this process and the device."""

from __future__ import annotations

import pytest
import torch
from device_counts import count


def test_a_round_trip_keeps_every_dtype_and_value(device: torch.device) -> None:
    for dtype in (
        torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.int16, torch.int32,
        torch.int64, torch.bool, torch.complex64, torch.complex128,
    ):  # fmt: skip
        x = torch.randint(0, 2, (3, 5)).to(dtype)
        assert torch.equal(x.to(device).cpu(), x), dtype


def test_the_caller_may_change_its_tensor_right_after_to(device: torch.device) -> None:
    x = torch.arange(1000.0)
    remote = x.to(device, non_blocking=True)
    x.fill_(-1)
    assert torch.equal(remote.cpu(), torch.arange(1000.0))


def test_copies_into_one_tensor_and_operators_between_them_keep_their_order(device: torch.device) -> None:
    a, b = torch.rand(300_000), torch.rand(300_000)
    x = torch.empty(300_000, device=device)
    x.copy_(a)
    y = x * 2
    x.copy_(b)
    assert torch.equal(y.cpu(), a * 2)
    assert torch.equal(x.cpu(), b)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.t(),
        lambda x: x[1:, ::2],
        lambda x: x.flip(0),
        lambda x: x[:, 2],
        lambda x: x[3, 4],
        lambda x: x[:0],
        lambda x: x.unsqueeze(1).expand(6, 4, 8),
        lambda x: x.diagonal(),
        lambda x: x.unfold(1, 3, 2),
        lambda x: x.as_strided((3, 3), (1, 1), 2),
    ],
)
def test_views_travel_both_ways(view, device: torch.device) -> None:
    x = torch.arange(48.0).reshape(6, 8)
    assert torch.equal(view(x.to(device)).cpu(), view(x))
    assert torch.equal(view(x).to(device).cpu(), view(x))


def test_writing_through_a_view_changes_only_the_view(device: torch.device) -> None:
    x = torch.zeros(6, 8)
    remote = x.to(device)
    for target in (x, remote):
        target[1:3, ::2] = torch.arange(8.0).reshape(2, 4)
        target.t()[5] = 7
        target[4].copy_(torch.tensor(3.0))
        target[5].copy_(torch.arange(8))
    assert torch.equal(remote.cpu(), x)


def test_a_copy_converts_and_broadcasts(device: torch.device) -> None:
    for source, target in ((torch.int8, torch.float64), (torch.float64, torch.int8), (torch.float32, torch.float16)):
        x = torch.arange(6).to(source)
        up = torch.zeros(2, 6, dtype=target, device=device).copy_(x)
        down = torch.zeros(2, 6, dtype=target).copy_(x.to(device))
        expected = torch.zeros(2, 6, dtype=target).copy_(x)
        assert torch.equal(up.cpu(), expected)
        assert torch.equal(down, expected)


def test_conjugate_and_negative_views_travel_with_their_values(device: torch.device) -> None:
    x = torch.randn(4, dtype=torch.complex64)
    remote = x.to(device)
    assert torch.equal(remote.conj().cpu(), x.conj())
    assert torch.equal(remote.conj().imag.cpu(), x.conj().imag)
    assert torch.equal(x.conj().to(device).cpu(), x.conj())
    assert torch.equal(x.conj().imag.to(device).cpu(), x.conj().imag)
    assert remote.conj()[1].item() == x.conj()[1].item()
    target = torch.zeros(4, dtype=torch.complex64, device=device)
    target.conj().copy_(x)
    assert torch.equal(target.cpu(), x.conj())


def test_only_the_bytes_of_a_view_travel(device: torch.device) -> None:
    big = torch.zeros(1 << 20, device=device)
    big[77] = 5
    torch.remote.synchronize()
    before = count("bytes_received", device.index)
    assert big[77].item() == 5
    assert big[70:80].cpu().sum() == 5
    assert big[:1].expand(1 << 16).cpu().sum() == 0
    assert count("bytes_received", device.index) - before < 4096
    before = count("bytes_sent", device.index)
    torch.ones(1).expand(1 << 16).to(device)
    torch.zeros(1 << 10, dtype=torch.float64, device=device).copy_(torch.ones(1 << 10, dtype=torch.int8))
    assert count("bytes_sent", device.index) - before < 1 << 14


def test_item_reads_every_dtype(device: torch.device) -> None:
    for value, dtype in (
        (3, torch.int8),
        (True, torch.bool),
        (2.5, torch.bfloat16),
        (1 - 2j, torch.complex128),
        (2**62, torch.int64),
    ):
        assert torch.tensor([0, value], dtype=dtype).to(device)[1].item() == value


def test_lists_of_tensors_are_copied_between_devices(device: torch.device) -> None:
    ours = [torch.randn(3), torch.randn(2, 2)]
    theirs = [torch.zeros(3, device=device), torch.zeros(2, 2, device=device)]
    torch._foreach_copy_(theirs, ours)
    again = [torch.zeros_like(x) for x in theirs]
    torch._foreach_copy_(again, theirs)
    back = [torch.zeros(3), torch.zeros(2, 2)]
    torch._foreach_copy_(back, again)
    assert all(torch.equal(a, b) for a, b in zip(ours, back, strict=True))


def test_index_lists_on_the_cpu_are_uploaded(device: torch.device) -> None:
    x = torch.arange(12.0).reshape(3, 4)
    remote = x.to(device)
    rows = torch.tensor([2, 0])
    assert torch.equal(remote[rows].cpu(), x[rows])
    assert torch.equal(remote[[0, 2], [1, 3]].cpu(), x[[0, 2], [1, 3]])
    remote[rows] = 5.0
    x[rows] = 5.0
    assert torch.equal(remote.cpu(), x)


def test_a_mask_selects_as_many_as_it_has(device: torch.device) -> None:
    x = torch.arange(12.0)
    remote = x.to(device)
    assert torch.equal(remote[remote > 5].cpu(), x[x > 5])
    assert torch.equal(torch.nonzero(remote % 2).cpu(), torch.nonzero(x % 2))
    out = torch.empty(0, dtype=torch.int64, device=device)
    torch.nonzero(remote % 2, out=out)
    assert torch.equal(out.cpu(), torch.nonzero(x % 2))


def test_pinned_memory_is_recognised_and_moves(device: torch.device) -> None:
    x = torch.arange(10.0).pin_memory()
    assert x.is_pinned()
    assert not torch.arange(10.0).is_pinned()
    assert torch.equal(x.to(device, non_blocking=True).cpu(), torch.arange(10.0))
