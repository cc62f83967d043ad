"""The session with an executor, against a real agent without a control plane: cuts, bulk, order, ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import agent_fixture
import pytest
import torch

import torch_remote
from torch_remote import _C, _leases

Agent = agent_fixture.Agent


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    running = Agent(agent_fixture.binary())
    yield running
    running.stop()


@pytest.fixture
def leased(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """A device whose session ends with the test. There is no control plane to lease from."""
    monkeypatch.setattr(_leases, "ensure_lease", lambda: None)
    index = open_session(agent, f"lease-{time.monotonic_ns()}")
    yield torch.device("remote", index)
    _C.close_session(index, True)


def open_session(agent: Agent, lease: str) -> int:
    return _C.open_session(agent.endpoints(), agent.bind(lease), False, lease, f"test/{lease}")


def train(device: torch.device | str, steps: int, between: object = None) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
    x, y = torch.randn(64, 16), torch.randint(0, 4, (64,))
    model, x, y = model.to(device), x.to(device), y.to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
        if callable(between):
            between(step)
    return [parameter.detach().cpu() for parameter in model.parameters()]


def test_a_sum_is_computed_on_the_machine(leased: torch.device) -> None:
    x = torch.ones(3, device=leased)
    assert torch.equal((x + 1).cpu(), torch.full((3,), 2.0))


def test_a_connection_cut_a_hundred_times_changes_no_bit(leased: torch.device) -> None:
    expected = train(leased, 250)
    before = _C.stats(leased.index)["reconnects"]
    random = torch.Generator().manual_seed(1)

    def cut(step: int) -> None:
        # The last cut is behind us when this returns: each one counts.
        if step % 2 == 0:
            torch.remote.synchronize(leased)
            _C._cut(leased.index, int(torch.randint(0, 500, (), generator=random)))

    assert all(torch.equal(a, b) for a, b in zip(train(leased, 250, cut), expected, strict=True))
    assert _C.stats(leased.index)["reconnects"] - before >= 100


def test_an_answer_lost_with_its_connection_comes_after_the_reconnect(leased: torch.device) -> None:
    x = torch.arange(1000, device=leased)
    x.sum().item()
    for after in range(0, 400, 7):
        _C._cut(leased.index, after)
        assert x.sum().item() == 499_500
        x += 0


def test_large_tensors_travel_whole_in_both_directions(leased: torch.device) -> None:
    for count in (100_000, 3_000_000, 20_000_000):  # in the stream, copied, lent
        sent = torch.randint(-1000, 1000, (count,), dtype=torch.int32)
        assert torch.equal(sent.to(leased).cpu(), sent)


def test_bulk_goes_on_where_it_was_cut(leased: torch.device) -> None:
    sent = torch.randint(-1000, 1000, (5_000_000,), dtype=torch.int32)
    for after in (100_000, 3_000_000, 19_000_000):
        _C._cut(leased.index, after)
        there = sent.to(leased)
        _C._cut(leased.index, after)
        assert torch.equal(there.cpu(), sent)


def test_large_writes_keep_their_place_in_the_order(leased: torch.device) -> None:
    a, b = torch.full((2_000_000,), 1.0), torch.full((2_000_000,), 5.0)
    x = torch.zeros(2_000_000, device=leased)
    x.copy_(a)
    y = x * 2
    x.copy_(b)
    a.fill_(99.0)
    assert torch.equal(y.cpu(), torch.full((2_000_000,), 2.0))
    assert torch.equal(x.cpu(), torch.full((2_000_000,), 5.0))


def test_threads_share_a_session(leased: torch.device) -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            if (torch.full((4,), number, device=leased) * 2).sum().item() != number * 8:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_is_dropped_here_is_freed_there(leased: torch.device) -> None:
    torch.remote.synchronize(leased)
    before = _C.stats(leased.index)["live_storages"]
    x = torch.ones(10, device=leased)
    for _ in range(1000):
        x = x + 1
    del x
    assert _C.stats(leased.index)["live_storages"] == before


def test_a_wait_is_interrupted_by_ctrl_c(leased: torch.device) -> None:
    x = torch.randn(1500, 1500, device=leased)
    for _ in range(100):
        x = x @ x

    def read() -> None:
        x.sum().item()
        time.sleep(60)  # A machine that was done before the signal is interrupted here.

    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        read()
    timer.join()
    assert torch.ones(2, device=leased).sum().item() == 2


def test_tensors_of_an_ended_session_say_so(agent: Agent, leased: torch.device) -> None:
    x = torch.ones(3, device=leased)
    _C.close_session(leased.index, True)
    with pytest.raises(torch_remote.errors.RemoteLost, match="Released"):
        x + 1
    assert _C.device_count() == 0
    again = open_session(agent, "again")
    assert again == leased.index
    with pytest.raises(torch_remote.errors.RemoteLost, match="has ended"):
        (x + 1).cpu()
    assert torch.ones(3, device=f"remote:{again}").sum().item() == 3
    _C.close_session(again, True)


def test_a_session_opens_once(agent: Agent, leased: torch.device) -> None:
    _C.close_session(leased.index, True)
    token = agent.bind("once")
    index = _C.open_session(agent.endpoints(), token, False, "once", "test/once")
    try:
        torch.ones(1, device=f"remote:{index}").item()
        with pytest.raises(RuntimeError, match="SessionOpened"):
            _C.open_session(agent.endpoints(), token, False, "once", "test/once")
        assert torch.ones(2, device=f"remote:{index}").sum().item() == 2
    finally:
        _C.close_session(index, True)


def test_a_new_process_takes_a_lost_session_over_and_the_old_one_is_refused(agent: Agent, leased: torch.device) -> None:
    _C.close_session(leased.index, True)
    index = _C.open_session(agent.endpoints(), agent.bind("taken"), False, "taken", "test/taken")
    x = torch.ones(3, device=f"remote:{index}")
    torch.remote.synchronize(index)
    # The old process is there: it must not lose its session to another.
    with pytest.raises(RuntimeError, match=r"SessionInUse|AttachNotAllowed"):
        _C.open_session(agent.endpoints(), agent.token("taken"), True, "taken", "test/taken")
    _C.close_session(index, False)
    other = _C.open_session(agent.endpoints(), agent.token("taken", attach=True), True, "taken", "test/taken")
    try:
        assert torch.ones(3, device=f"remote:{other}").sum().item() == 3
        with pytest.raises(torch_remote.errors.RemoteLost):
            x + 1
    finally:
        _C.close_session(other, True)


def test_a_token_of_another_key_opens_nothing(agent: Agent, leased: torch.device) -> None:
    _C.close_session(leased.index, True)
    agent.bind("mine")
    forged = agent_fixture.Signer().token(
        "lease+jwt", 300, aud=agent.machine, lease="mine", slots=[{"slot": 0, "epoch": agent.epochs[0]}], attach=False
    )
    with pytest.raises(RuntimeError, match="cannot be opened"):
        _C.open_session(agent.endpoints(), forged, False, "mine", "test/mine")
    index = _C.open_session(agent.endpoints(), agent.token("mine"), False, "mine", "test/mine")
    _C.close_session(index, True)


def test_a_frozen_client_goes_on(leased: torch.device) -> None:
    """SIGSTOP for longer than a dead link is waited for, as a sleeping laptop."""
    x = torch.ones(3, device=leased)
    torch.remote.synchronize(leased)
    pid = os.getpid()
    waker = subprocess.Popen(
        [sys.executable, "-c", f"import os, time; os.kill({pid}, 19); time.sleep(20); os.kill({pid}, 18)"]
    )
    waker.wait()
    assert (x + 1).sum().item() == 6


def test_a_forked_child_is_refused(leased: torch.device) -> None:
    x = torch.ones(3, device=leased)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            x + 1
            os.write(write, b"no error")
        except BaseException as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"fork" in os.read(read, 1000)
    assert (x + 1).sum().item() == 6


def test_a_killed_executor_is_a_typed_error_within_five_seconds(agent: Agent, leased: torch.device) -> None:
    x = torch.ones(3, device=leased)
    assert (x + 1).sum().item() == 6
    for child in agent.children():
        os.kill(child, signal.SIGKILL)
    start = time.monotonic()
    with pytest.raises(torch_remote.errors.RemoteLost):
        (x + 1).cpu()
    assert time.monotonic() - start < 5


def test_a_killed_agent_is_a_typed_error_within_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_leases, "ensure_lease", lambda: None)
    agent = Agent(agent_fixture.binary())
    index = open_session(agent, "killed")
    x = torch.ones(3, device=f"remote:{index}")
    assert (x + 1).sum().item() == 6
    agent.process.kill()
    agent.process.wait()
    start = time.monotonic()
    with pytest.raises(torch_remote.errors.RemoteLost):
        (x + 1).cpu()
    assert time.monotonic() - start < 5
    agent.stop()
