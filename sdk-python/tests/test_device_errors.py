"""What is refused, before anything is sent."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from device_counts import reset
from torch import nn

import torch_remote
from torch_remote import _C, NoLease, RemoteLost


def nothing_was_sent(device: torch.device) -> bool:
    stats = _C.stats(device.index)
    return stats["cache_hits"] + stats["cache_misses"] + stats["calls_now"] + stats["reads"] + stats["writes"] == 0


def test_an_index_without_a_lease_says_how_to_get_one(device: torch.device) -> None:
    with pytest.raises(NoLease, match="lease"):
        torch.ones(2, device="remote:15")
    with pytest.raises(RuntimeError, match="index"):
        torch.ones(2, device="remote:77")


@pytest.mark.parametrize(
    "use",
    [
        lambda ours, theirs: ours + theirs,
        lambda ours, theirs: torch.mm(theirs, ours),
        lambda ours, theirs: torch.cat([ours, theirs]),
        lambda ours, theirs: ours.add_(theirs),
        lambda ours, theirs: torch.where(theirs > 0, ours, ours),
        lambda ours, theirs: theirs.add_(ours),
        lambda ours, theirs: torch.zeros(()).add_(ours.sum()),
        lambda ours, theirs: torch._foreach_add_([ours], [theirs]),
    ],
)
def test_tensors_of_the_cpu_mixed_in_are_refused(use, device: torch.device) -> None:
    ours, theirs = torch.ones(3, 3, device=device), torch.ones(3, 3)
    ours.sum()
    reset()
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        use(ours, theirs)


def test_a_cpu_tensor_that_is_refused_sends_nothing(device: torch.device) -> None:
    ours = torch.ones(3, 3, device=device)
    reset()
    with pytest.raises(RuntimeError, match="same device"):
        torch.mm(ours, torch.ones(3, 3))
    assert nothing_was_sent(device)


def test_a_number_on_the_cpu_takes_part_as_on_cuda(device: torch.device) -> None:
    x = torch.arange(3.0).to(device)
    assert (x * torch.tensor(2.0)).cpu().tolist() == [0, 2, 4]
    assert (torch.tensor(2) - x).cpu().tolist() == [2, 1, 0]
    number = torch.tensor(1 + 2j).conj()
    assert (x * number).cpu().tolist() == (torch.arange(3.0) * number).tolist()
    assert (x * number.imag).cpu().tolist() == [0, -2, -4]
    assert (x.int() * torch.tensor(1.5)).dtype == torch.float32
    assert (x.half() * torch.tensor(1.5, dtype=torch.float64)).dtype == torch.float16


def test_shapes_that_do_not_fit_are_refused_here_with_pytorchs_own_words(device: torch.device) -> None:
    x = torch.ones(3, 4, device=device)
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        x @ x
    with pytest.raises(RuntimeError, match="must match the size of tensor"):
        x + torch.ones(3, 5, device=device)
    with pytest.raises(IndexError, match="Dimension out of range"):
        x.sum(5)
    with pytest.raises(RuntimeError, match="shape"):
        x.copy_(torch.ones(5, 3, 4, device=device))


def test_tensors_of_two_leases_mixed_are_refused_and_copies_between_them_work(device: torch.device) -> None:
    with torch_remote.lease(machine="shared", gpu="CPU", name="other", quiet=True) as other:
        ours, theirs = torch.arange(3.0).to(device), torch.ones(3, device=other.device)
        reset()
        with pytest.raises(RuntimeError, match="same device"):
            ours + theirs
        assert nothing_was_sent(device)
        assert ours.to(other.device).device == other.device
        assert (ours.to(other.device) + theirs).cpu().tolist() == [1, 2, 3]


def test_tensors_of_a_lease_that_ended_are_lost_and_say_so(device: torch.device) -> None:
    other = torch_remote.lease(machine="shared", gpu="CPU", name="ends", quiet=True)
    x = torch.ones(3, device=other.device, requires_grad=True)
    y = (x * 2).sum()
    other.release()
    for use in (
        lambda: x + 1,
        lambda: x.cpu(),
        lambda: x.sum().item(),
        lambda: x.detach().fill_(1),
        lambda: copy.deepcopy(x),
    ):
        with pytest.raises(RemoteLost):
            use()
    with pytest.raises(RemoteLost):
        y.backward()
    assert x.view(3, 1).shape == (3, 1)
    assert torch.ones(2, device=device).sum().item() == 2


def test_a_new_lease_does_not_bring_back_tensors_of_the_one_before(device: torch.device) -> None:
    first = torch_remote.lease(machine="shared", gpu="CPU", name="before", quiet=True)
    x = torch.ones(3, device=first.device)
    first.release()
    with torch_remote.lease(machine="shared", gpu="CPU", name="after", quiet=True) as second:
        assert torch.ones(3, device=second.device).sum().item() == 3
        with pytest.raises(RemoteLost):
            x + 1
        del x
        assert torch.ones(3, device=second.device).sum().item() == 3


def test_a_pointer_is_no_tensor_so_plain_pickle_and_dlpack_are_refused(device: torch.device) -> None:
    x = torch.arange(3.0).to(device)
    with pytest.raises(RuntimeError, match=r"\.cpu\(\)"):
        pickle.dumps(x)
    with pytest.raises(ValueError, match="Unknown device type remote for Dlpack"):
        torch.from_dlpack(x)
    with pytest.raises(RuntimeError, match=r"\.cpu\(\)"):
        torch.from_dlpack(torch.utils.dlpack.to_dlpack(x)) + 1
    with pytest.raises(TypeError):
        x.numpy()
    assert x.cpu().tolist() == [0, 1, 2]


def test_a_generator_of_the_cpu_is_refused(device: torch.device) -> None:
    with pytest.raises(RuntimeError, match="Expected a 'remote' device type for generator"):
        torch.rand(3, device=device, generator=torch.Generator())


def test_other_layouts_are_refused(device: torch.device) -> None:
    with pytest.raises(NotImplementedError):
        torch.eye(3).to_sparse().to(device)


def test_backward_runs_on_the_cpu_and_on_a_lease_opened_after_it(device: torch.device) -> None:
    x = torch.ones(3, requires_grad=True)
    (x * 2).sum().backward()
    with torch_remote.lease(machine="shared", gpu="CPU", name="late", quiet=True) as late:
        y = torch.ones(3, device=late.device, requires_grad=True)
        (y * 3).sum().backward()
        assert y.grad.cpu().tolist() == [3, 3, 3]
        model = nn.Linear(3, 2).to(late.device)
        model(y).sum().backward()
        assert model.weight.grad.device == late.device


def test_with_launch_blocking_a_failure_shows_at_the_line_that_made_it(device: torch.device) -> None:
    x = torch.ones(3, device=device)
    wrong = torch.tensor([7]).to(device)
    _C.set_launch_blocking(True)
    try:
        with pytest.raises(IndexError):
            torch.index_select(x, 0, wrong)
    finally:
        _C.set_launch_blocking(False)
    assert (x + 1).sum().item() == 6
