"""Storages and views live here: making a view sends nothing."""

from __future__ import annotations

import torch
from device_counts import count, reset


def test_making_views_runs_no_operator(device: torch.device) -> None:
    x = torch.randn(4, 6).to(device)
    torch.remote.synchronize()
    reset()
    x.view(2, 12).t().unsqueeze(0)[:, 1].detach().view(2, 1).unfold(0, 2, 1)
    x.expand(2, 4, 6).permute(2, 0, 1).squeeze().narrow(0, 1, 2).select(0, 1)
    torch.view_as_real(torch.view_as_complex(x.view(4, 3, 2)))
    assert (
        count("cache_hits", device.index)
        == count("cache_misses", device.index)
        == count("calls_now", device.index)
        == 0
    )


def test_views_share_their_storage_and_in_place_changes_show_in_all(device: torch.device) -> None:
    x = torch.zeros(3, 4, device=device)
    row = x[1]
    x.t()[2].add_(1)
    row.mul_(5)
    assert x.cpu().tolist() == [[0, 0, 1, 0], [0, 0, 5, 0], [0, 0, 1, 0]]
    assert row.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


def test_every_storage_has_an_address_of_its_own(device: torch.device) -> None:
    tensors = [torch.empty(n, device=device) for n in (0, 1, 100, 1 << 20)]
    assert len({x.untyped_storage().data_ptr() for x in tensors}) == len(tensors)


def test_resize_keeps_the_values_that_fit_and_grows(device: torch.device) -> None:
    x = torch.arange(4.0).to(device)
    view = x.view(2, 2)
    x.resize_(6)
    assert x[:4].cpu().tolist() == view.flatten().cpu().tolist() == [0, 1, 2, 3]
    x[5] = 9
    x.resize_(2, 3)
    assert x[1, 2].item() == 9
    x.resize_(2)
    assert x.cpu().tolist() == [0, 1]


def test_a_storage_can_be_emptied_and_filled_again(device: torch.device) -> None:
    x = torch.arange(4.0).to(device)
    x.untyped_storage().resize_(0)
    assert x.untyped_storage().nbytes() == 0
    x.untyped_storage().resize_(16)
    x.copy_(torch.arange(4.0))
    assert x.cpu().tolist() == [0, 1, 2, 3]


def test_set_makes_a_tensor_of_another_storage(device: torch.device) -> None:
    x, y = torch.arange(6.0).to(device), torch.zeros(2, device=device)
    y.set_(x)
    assert y.is_set_to(x)
    y.set_(x.untyped_storage(), 1, (2, 2), (2, 1))
    assert y.cpu().tolist() == [[1, 2], [3, 4]]
    y.set_()
    assert y.numel() == 0
    x.data = torch.ones(3, device=device)
    assert x.cpu().tolist() == [1, 1, 1]


def test_out_arguments_are_resized_and_reused(device: torch.device) -> None:
    a, b = torch.randn(3, 4), torch.randn(3, 4)
    out = torch.empty(0, device=device)
    for _ in range(2):
        torch.add(a.to(device), b.to(device), out=out)
        assert torch.equal(out.cpu(), a + b)
    matrix = torch.zeros(4, 3, device=device).t()
    torch.mul(a.to(device), b.to(device), out=matrix)
    assert matrix.stride() == (1, 3)
    assert torch.equal(matrix.cpu(), a * b)


def test_results_in_column_order_have_the_right_values(device: torch.device) -> None:
    a = torch.randn(5, 5)
    a = a @ a.t() + torch.eye(5)
    for ours, theirs in zip(torch.linalg.eigh(a.to(device)), torch.linalg.eigh(a), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs)
    torch.testing.assert_close(torch.linalg.inv(a.to(device)).cpu(), torch.linalg.inv(a))
    torch.testing.assert_close(torch.fft.rfft2(a.to(device)).cpu(), torch.fft.rfft2(a))


def test_the_backward_of_sgn_and_angle_ends(device: torch.device) -> None:
    for function in (torch.sgn, torch.angle, torch.sign):
        x = torch.randn(4).to(device).requires_grad_()
        function(x).sum().backward()
        assert x.grad.cpu().tolist() == [0, 0, 0, 0]


def test_freed_tensors_free_their_storages(device: torch.device) -> None:
    torch.remote.synchronize()
    before = count("live_storages", device.index)
    x = [torch.ones(10, device=device) for _ in range(5)]
    y = [(each + 1)[1:] for each in x]
    assert count("live_storages", device.index) == before + 10
    del x, y
    assert count("live_storages", device.index) == before


def test_an_empty_out_takes_the_result_whatever_the_order_of_its_input(device: torch.device) -> None:
    x = torch.randn(4, 5)
    for ours, theirs in ((x.t().to(device), x.t()), (x.to(device)[:, ::2], x[:, ::2])):
        out = torch.empty(0, device=device)
        torch.abs(ours, out=out)
        assert torch.equal(out.cpu(), theirs.abs())
