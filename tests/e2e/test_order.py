"""Order and values: what enters the stream first happens first, and what fails poisons what it touched and nothing else."""

from __future__ import annotations

import pytest
import torch


def test_a_large_upload_takes_its_place_between_the_operators_around_it(device: torch.device) -> None:
    a, b = torch.full((4 << 20,), 3.0), torch.full((4 << 20,), 7.0)
    x = torch.empty(4 << 20, device=device)
    x.copy_(a)
    y = x * 2
    x.copy_(b)
    assert torch.equal(y.cpu(), a * 2)
    assert torch.equal(x.cpu(), b)


def test_the_callers_tensor_may_change_right_after_it_was_sent(device: torch.device) -> None:
    for size in (4, 1 << 12, 1 << 20, 8 << 20):
        mine = torch.ones(size)
        theirs = mine.to(device)
        mine.fill_(9.0)
        assert torch.equal(theirs.cpu(), torch.ones(size)), f"{size} elements"


def test_only_the_bytes_of_a_view_travel_and_land_in_place(device: torch.device) -> None:
    x = torch.zeros(6, 8, device=device)
    x[1:5:2, ::3].copy_(torch.arange(6.0).view(2, 3))
    expected = torch.zeros(6, 8)
    expected[1:5:2, ::3] = torch.arange(6.0).view(2, 3)
    assert torch.equal(x.cpu(), expected)
    assert torch.equal(x.t()[3:7, 1].cpu(), expected.t()[3:7, 1])


def test_a_failed_operator_harms_only_what_it_would_have_written(device: torch.device) -> None:
    y = torch.arange(4.0, device=device)
    x = torch.zeros(4, device=device)
    bad = y[torch.tensor([9], device=device)]
    x.add_(1)
    assert x.cpu().tolist() == [1.0] * 4
    assert y.cpu().tolist() == [0.0, 1.0, 2.0, 3.0]
    with pytest.raises(IndexError, match=r"index.*out of (range|bounds)"):
        bad.cpu()


def failing(device: torch.device) -> torch.Tensor:
    return torch.arange(4.0, device=device)[torch.tensor([9, 9, 9, 9], device=device)]


def test_what_reads_a_poisoned_tensor_is_poisoned(device: torch.device) -> None:
    later = (failing(device) + 1).relu()
    with pytest.raises(IndexError):
        later.sum().item()


def test_a_view_of_a_poisoned_tensor_is_poisoned(device: torch.device) -> None:
    bad = failing(device)
    with pytest.raises(IndexError):
        bad[:2].cpu()


def test_an_in_place_operator_that_reads_poison_poisons_its_target_and_all_views_of_it(device: torch.device) -> None:
    x = torch.zeros(4, device=device)
    head = x[:2]
    x.add_(failing(device))
    with pytest.raises(IndexError):
        head.cpu()


def test_a_partial_write_does_not_clear_poison_and_a_whole_one_does(device: torch.device) -> None:
    bad = failing(device)
    bad[:2].fill_(5.0)
    with pytest.raises(IndexError):
        bad[:2].cpu()
    bad.fill_(5.0)
    assert bad.cpu().tolist() == [5.0] * 4


def test_an_out_argument_of_a_failed_operator_is_poisoned(device: torch.device) -> None:
    out = torch.zeros(4, device=device)
    torch.add(failing(device), 1, out=out)
    with pytest.raises(IndexError):
        out.cpu()


@pytest.mark.parametrize("shape", [(0,), (4,)])
def test_a_whole_write_clears_the_poison_of_an_out_argument_whether_it_grew_or_not(
    shape: tuple[int, ...], device: torch.device
) -> None:
    bad, good = failing(device), torch.ones(4, device=device)
    torch.add(good, good, out=torch.empty(shape, device=device))  # The signature is known: the failing call is a hit.
    for clear in (lambda x: x.fill_(5.0), lambda x: torch.add(good, 4.0, out=x), lambda x: x.copy_(good * 5)):
        out = torch.empty(shape, device=device)
        torch.add(bad, 1, out=out)
        with pytest.raises(IndexError):
            out.cpu()
        clear(out)
        assert out.cpu().tolist() == [5.0] * 4


def test_batch_norm_of_a_poisoned_tensor_poisons_its_statistics_in_training_alone(device: torch.device) -> None:
    bn = torch.nn.BatchNorm1d(4).to(device)
    bad = failing(device).expand(3, 4)
    bn.eval()
    bn(bad)
    assert bn.running_mean.cpu().tolist() == [0.0] * 4
    bn.train()
    bn(bad)
    for statistics in (bn.running_mean, bn.running_var):
        with pytest.raises(IndexError):
            statistics.cpu()
    bn.reset_running_stats()
    bn(torch.ones(3, 4, device=device))
    assert bn.running_mean.cpu().allclose(torch.full((4,), 0.1))


def test_a_custom_operator_without_results_poisons_what_it_would_have_written(device: torch.device) -> None:
    library = torch.library.Library("remote_order", "DEF")
    library.define("bump(Tensor y, Tensor(a!) x) -> ()")
    library.impl("bump", lambda y, x: None, "Meta")
    x, y = torch.zeros(4, device=device), torch.ones(4, device=device)
    torch.ops.remote_order.bump(y, x)
    with pytest.raises(NotImplementedError, match="remote_order::bump"):
        x.cpu()
    assert y.cpu().tolist() == [1.0] * 4


def test_synchronize_raises_the_first_failure_once_and_names_the_operator(device: torch.device) -> None:
    torch.remote.synchronize(device)
    bad = failing(device)
    with pytest.raises(IndexError, match="aten::index"):
        torch.remote.synchronize(device)
    torch.remote.synchronize(device)
    del bad
