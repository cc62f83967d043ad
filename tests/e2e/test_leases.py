"""Several leases in one process: each controls its own device only, and `device="remote"` means one that lives."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

import torch_remote
from stack import Stack, eventually
from torch_remote import _C, Lease, _leases, errors


def held(name: str, **fields: str) -> Lease:
    return torch_remote.lease(gpu="CPU", machine="shared", name=name, quiet=True, **fields)


@pytest.fixture
def first(stack: Stack) -> Iterator[Lease]:
    with held("first") as lease:
        yield lease


@pytest.fixture
def second(first: Lease) -> Iterator[Lease]:
    with held("second") as lease:
        yield lease


def end(lease: Lease) -> None:
    """Ends its sessions as the agent does at the end of a lease: without the lease object's doing."""
    for session in lease._sessions:
        session.lose("Idle", "no operator ran for 1m")
        eventually(lambda: session.state()[0] == "Ended", 10, "the session is over")  # noqa: B023


def test_a_lease_that_is_over_controls_nothing_of_the_one_that_has_its_index(first: Lease) -> None:
    end(first)
    with held("heir") as heir:
        assert heir.device == first.device
        x = torch.ones(3, device=heir.device)
        assert not first.active
        assert first.stats()["live_storages"] == 0
        assert heir.stats()["live_storages"] == 1
        with pytest.raises(errors.LeaseEnded, match="lease first is over"):
            first.keep(x, "x")
        first.release()
        assert heir.active
        assert x.sum().item() == 3.0


def test_a_lease_asked_for_again_after_its_end_is_a_new_one_and_the_old_object_leaves_it_alone(first: Lease) -> None:
    end(first)
    with held("first") as again:
        assert again is not first
        x = torch.ones(3, device=again.device)
        first.release()
        thing = again._api.get("deviceleases", "first")
        assert thing is not None
        assert "deletionTimestamp" not in thing["metadata"], (
            "the release of the old object gave the new one's lease back"
        )
        assert again.active
        assert held("first") is again, "the release of the old object forgot the new one"
        assert x.sum().item() == 3.0


def test_the_vigil_of_a_lease_that_is_over_does_not_end_the_session_that_has_its_index(
    stack: Stack, first: Lease
) -> None:
    end(first)
    with held("heir") as heir:
        assert heir.device == first.device
        stack.run("kubectl", "delete", "devicelease", "first", "--ignore-not-found")
        x = torch.ones(3, device=heir.device)
        for _ in range(20):
            _C._cut(heir.device.index, 0)
            assert x.sum().item() == 3.0
        assert heir.active


def test_the_same_selector_in_another_namespace_is_another_lease() -> None:
    requests = [_leases.checked("CPU", 1, "Exclusive", None, None, None) for _ in range(2)]
    for request, namespace in zip(requests, ("team-a", "team-b"), strict=True):
        request.namespace = namespace
    assert requests[0].selector != requests[1].selector


def test_remote_without_an_index_means_the_first_lease_that_lives(first: Lease, second: Lease) -> None:
    assert torch.ones(2, device="remote").device == first.device
    with torch.remote.device(second.device):
        assert torch.ones(2, device="remote").device == second.device
    first.release()
    assert torch.ones(2, device="remote").device == second.device
    assert torch.remote.current_device() == second.device.index


def test_a_thread_whose_device_ended_means_one_that_lives_and_never_moves_a_tensor_there(
    first: Lease, second: Lease
) -> None:
    there = torch.ones(2, device=first.device)
    with torch.remote.device(first.device):
        first.release()
        assert torch.ones(2, device="remote").device == second.device
        with pytest.raises(errors.RemoteLost):
            torch.ones(2, device=first.device)
        with pytest.raises(errors.RemoteLost):
            torch.empty_like(there)


def test_with_no_lease_left_remote_raises_no_lease(first: Lease, second: Lease) -> None:
    torch.remote.set_device(second.device)
    first.release()
    second.release()
    with pytest.raises(errors.NoLease, match="torch_remote.lease"):
        torch.ones(2, device="remote")


def test_the_device_set_is_this_threads_and_must_be_leased(first: Lease, second: Lease) -> None:
    torch.remote.set_device(second.device)
    assert torch.remote.current_device() == second.device.index
    elsewhere: list[int] = []
    other = threading.Thread(target=lambda: elsewhere.append(torch.remote.current_device()))
    other.start()
    other.join()
    assert elsewhere == [first.device.index]
    with pytest.raises(RuntimeError, match="invalid device index 99; indices are 0 to 15"):
        torch.remote.set_device(99)
    with pytest.raises(errors.NoLease):
        torch.remote.set_device(15)
    assert torch.remote.current_device() == second.device.index
    torch.remote.set_device(first.device)


def test_generator_states_are_of_the_leased_devices_whatever_their_indexes(first: Lease, second: Lease) -> None:
    first.release()
    torch.manual_seed(3)
    (state,) = torch.remote.get_rng_state_all()
    drawn = torch.rand(4, device=second.device).cpu()
    torch.remote.set_rng_state_all([state])
    assert torch.equal(torch.rand(4, device=second.device).cpu(), drawn)
    with pytest.raises(ValueError, match="2 states for 1 leased devices"):
        torch.remote.set_rng_state_all([state, state])


def test_an_event_of_an_earlier_session_has_no_time_in_the_next(first: Lease) -> None:
    old = torch.Event(first.device, enable_timing=True)
    old.record()
    end(first)
    with held("heir") as heir:
        new = torch.Event(heir.device, enable_timing=True)
        new.record()
        new.synchronize()
        with pytest.raises(errors.RemoteLost, match="earlier session"):
            old.query()
        with pytest.raises(RuntimeError):
            old.elapsed_time(new)


def test_the_round_trip_is_measured(first: Lease) -> None:
    torch.ones(2, device=first.device).sum().item()
    assert 0 < first.stats()["round_trip_us"] < 60_000_000


def test_a_lease_that_waits_longer_than_it_may_is_a_lease_timeout_and_leaves_nothing(stack: Stack) -> None:
    stack.machine("narrow", slots=1)
    with torch_remote.lease(gpu="CPU", machine="narrow", name="holder", quiet=True):
        with pytest.raises(errors.LeaseTimeout, match="2 s"):
            torch_remote.lease(gpu="CPU", machine="narrow", name="waiter", wait_timeout="2s", quiet=True)
        eventually(lambda: stack.get("devicelease", "waiter") is None, 30, "the waiter's lease is cleared away")
    stack.run("kubectl", "delete", "remotemachine", "narrow", "--wait=false")


@pytest.mark.parametrize(
    "use",
    [
        "torch.ones(3).to('remote')",
        "torch_remote.lease() and torch.ones(3).remote()",
        "torch.remote.set_device(0) or torch.ones(3, device='remote')",
    ],
)
def test_the_variable_names_the_gpus_that_the_first_use_leases(stack: Stack, use: str) -> None:
    client = stack.client(f"x = {use}\nprint(x.sum().item(), x.device)", TORCH_REMOTE_GPU="T4 , CPU,")
    assert client.finish().splitlines()[-1] == "3.0 remote:0"


def test_an_agent_with_another_torch_is_named_when_the_session_opens(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", "2.12.1")
    with pytest.raises(errors.TorchVersionMismatch, match=r"2\.12\.1") as caught:
        held("mismatched")
    assert "2.13" in str(caught.value)
    eventually(lambda: stack.get("devicelease", "mismatched") is None, 30, "the lease is given up")


def test_what_is_counted_where_operators_are_issued_is_of_the_process(first: Lease, second: Lease) -> None:
    before = first.stats(), second.stats()
    torch.ones(5, 7, device=first.device).sum().item()
    after = first.stats(), second.stats()
    assert after[0]["ops"] > before[0]["ops"]
    assert after[1]["ops"] == before[1]["ops"]
    assert after[0]["reads"] == after[1]["reads"] == before[1]["reads"] + 1


def test_the_variable_for_launch_blocking_shows_a_failure_at_its_line(stack: Stack) -> None:
    client = stack.client(
        """
with torch_remote.lease(gpu="CPU", machine="shared", quiet=True) as lease:
    x, wrong = torch.ones(3, device=lease.device), torch.tensor([7]).to(lease.device)
    try:
        torch.index_select(x, 0, wrong)
    except IndexError:
        print("at its line")
""",
        TORCH_REMOTE_LAUNCH_BLOCKING="1",
    )
    assert client.finish().splitlines()[-1] == "at its line"
