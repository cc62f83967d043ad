"""Ctrl-C, and sessions that end, in the middle of a transfer: what was begun is finished or refused, and the stream goes on."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import agent_fixture
import pytest
import torch

from stack import eventually
from torch_remote import _C, RemoteLost, _leases

Agent = agent_fixture.Agent
MIB = 1 << 20


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    running = Agent(agent_fixture.binary())
    yield running
    running.stop()


@pytest.fixture
def session(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> Iterator[_C.Session]:
    """A session that ends with the test."""
    monkeypatch.setattr(_leases, "ensure_lease", lambda: None)
    lease = f"lease-{time.monotonic_ns()}"
    opened = _C.Session(agent.endpoints(), agent.bind(lease), False, lease, f"test/{lease}")
    yield opened
    opened.close(True)


@contextmanager
def frozen(agent: Agent) -> Iterator[None]:
    """The executors stand still meanwhile."""
    children = agent.children()
    for child in children:
        os.kill(child, signal.SIGSTOP)
    try:
        yield
    finally:
        for child in children:
            os.kill(child, signal.SIGCONT)


@contextmanager
def interpreter_held() -> Iterator[Callable[[], None]]:
    """No other thread gets the interpreter's lock meanwhile; the value spins until whoever waits has come to want it (each 100 ms)."""

    def spin() -> None:
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            pass

    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        spin()
        yield spin
    finally:
        sys.setswitchinterval(before)


def answers(device: torch.device) -> bool:
    """Whether the stream goes on."""
    found: list[float] = []
    asked = threading.Thread(target=lambda: found.append(torch.ones(2, device=device).sum().item()), daemon=True)
    asked.start()
    asked.join(20)
    return found == [2.0]


def test_a_download_whose_session_ends_in_the_middle_is_no_value(agent: Agent, session: _C.Session) -> None:
    x = torch.ones(60 * MIB, dtype=torch.int32, device=f"remote:{session.index}")
    torch.remote.synchronize(session.index)
    before = session.stats()["bytes_received"]
    outcome: list[object] = []

    def read() -> None:
        try:
            outcome.append(x.cpu())
        except RemoteLost as error:
            outcome.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    eventually(lambda: session.stats()["bytes_received"] > before + 2 * MIB, 20, "the download runs", every=0)
    with frozen(agent), interpreter_held() as spin:
        # The reader cannot look while the session ends and the download stops: it finds both at once.
        _C._cut(session.index, 1)
        session.lose("Forced", "ended by the test")
        for child in agent.children():
            os.kill(child, signal.SIGCONT)
        spin()
    reader.join()
    (found,) = outcome
    assert isinstance(found, RemoteLost), "bytes that never came were returned as a value"
    assert "Forced" in str(found)


def test_ctrl_c_just_as_a_download_is_offered_leaves_the_stream_going(agent: Agent, session: _C.Session) -> None:
    device = torch.device("remote", session.index)
    x = torch.ones(4 * MIB, dtype=torch.int32, device=device)
    torch.remote.synchronize(device)
    asked = session.stats()["syncs"]

    def interrupt() -> None:
        eventually(lambda: session.stats()["syncs"] > asked, 20, "the download is asked for")
        with interpreter_held() as spin:
            for child in agent.children():
                os.kill(child, signal.SIGCONT)
            os.kill(os.getpid(), signal.SIGINT)
            spin()  # The offer comes while the asker cannot look.

    helper = threading.Thread(target=interrupt)
    with frozen(agent):
        helper.start()
        with pytest.raises(KeyboardInterrupt):
            x.cpu()
            helper.join()  # A download that was quicker than the signal is interrupted here.
    helper.join()
    assert answers(device)
    assert x.sum().item() == 4 * MIB


def test_ctrl_c_in_a_large_download_leaves_the_stream_going(agent: Agent, session: _C.Session) -> None:
    device = torch.device("remote", session.index)
    x = torch.ones(60 * MIB, dtype=torch.int32, device=device)
    torch.remote.synchronize(device)
    before = session.stats()["bytes_received"]

    def interrupt() -> None:
        eventually(lambda: session.stats()["bytes_received"] > before + MIB, 20, "the download runs", every=0)
        with frozen(agent):
            os.kill(os.getpid(), signal.SIGINT)
            done.wait(20)

    done = threading.Event()
    helper = threading.Thread(target=interrupt)
    helper.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            x.cpu()
            time.sleep(20)
    finally:
        done.set()
        helper.join()
    assert answers(device)
    assert torch.equal(x[:5].cpu(), torch.ones(5, dtype=torch.int32))


def test_ctrl_c_in_a_large_upload_keeps_the_session_and_the_upload_whole(agent: Agent, session: _C.Session) -> None:
    device = torch.device("remote", session.index)
    sent = torch.arange(40 * MIB, dtype=torch.int32)
    kept, there = torch.full((3,), 7, device=device), torch.zeros_like(sent, device=device)
    torch.remote.synchronize(device)
    before = session.stats()["bytes_sent"]

    def interrupt() -> None:
        eventually(lambda: session.stats()["bytes_sent"] > before + MIB, 20, "the upload runs", every=0)
        with frozen(agent):
            os.kill(os.getpid(), signal.SIGINT)
            done.wait(20)

    done = threading.Event()
    helper = threading.Thread(target=interrupt)
    helper.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            there.copy_(sent)
            time.sleep(20)
    finally:
        done.set()
        helper.join()
    expected = int(sent.sum())
    sent.fill_(-1)  # The memory is the caller's again.
    assert session.state()[0] != "Ended"
    assert kept.cpu().tolist() == [7, 7, 7]
    assert there.sum().item() == expected


def test_large_uploads_keep_their_place_among_operators(session: _C.Session) -> None:
    device = torch.device("remote", session.index)
    count = 18 * MIB  # 72 MiB: lent, not copied
    x = torch.zeros(count, device=device)
    first, second = torch.full((count,), 1.0), torch.full((count,), 5.0)
    x.copy_(first)
    y = x[:4] * 2
    x.copy_(second)
    z = x[-4:] + y
    first.fill_(9.0)
    assert y.cpu().tolist() == [2.0] * 4
    assert z.cpu().tolist() == [7.0] * 4
    assert torch.equal(x.cpu(), second)


def test_threads_that_upload_at_once_do_not_wait_for_each_other_for_ever(session: _C.Session) -> None:
    device = torch.device("remote", session.index)
    wrong: list[int] = []

    def upload(number: int) -> None:
        for _ in range(3):
            large = torch.full((17 * MIB,), number, dtype=torch.int32)
            if large.to(device)[::MIB].sum().item() != 17 * number:
                wrong.append(number)

    threads = [threading.Thread(target=upload, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_a_call_too_long_for_a_command_is_refused_here_and_the_session_goes_on(session: _C.Session) -> None:
    x = torch.ones(1, device=f"remote:{session.index}")
    with pytest.raises(RuntimeError, match="make several calls of fewer"):
        torch.cat([x] * 400_000)
    assert torch.cat([x] * 1000).sum().item() == 1000
