"""What breaks, and what the user of a lease sees of it: a typed error, or nothing at all."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator

import pytest

from stack import Client, Stack, eventually

# Trains step by step on request; prints a digest of all parameters after each step, which is the same on every run.
TRAINING = """
import hashlib
lease = torch_remote.lease(gpu="CPU", machine="{machine}", quiet=True{more})
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4)).to(lease.device)
x = torch.randn(64, 16).to(lease.device)
y = torch.randint(4, (64,)).to(lease.device)
steps = torch.optim.Adam(model.parameters(), lr=1e-2)

def step():
    steps.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()
    steps.step()

def digest():
    whole = torch.cat([value.detach().flatten().cpu() for value in model.parameters()])
    return hashlib.sha256(whole.numpy().tobytes()).hexdigest()[:16]

print("ready", flush=True)
"""


@pytest.fixture(scope="module")
def broken(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A control plane of this module's own, to be broken."""
    with Stack() as running:
        running.machine("one")
        yield running


def training(stack: Stack, machine: str, code: str, more: str = "", **env: str) -> Client:
    client = stack.client(TRAINING.format(machine=machine, more=more) + code, **env)
    client.line("ready")
    return client


@pytest.fixture(scope="module")
def undisturbed(broken: Stack) -> list[str]:
    """The digests of an undisturbed run."""
    client = training(broken, "one", "for _ in range(40):\n    step()\n    print(digest())\nlease.release()\n")
    lines = client.finish().split()
    assert len(set(lines)) == 40
    free(broken, "one")
    return lines


def free(stack: Stack, machine: str, seconds: float = 30.0) -> None:
    """Returns when no lease holds any of the machine."""

    def nobody() -> bool:
        over = ("Ended", "Lost", "Failed")
        return all(
            lease.get("status", {}).get("phase") in over
            for lease in stack.list("deviceleases")
            if any(d["machine"].endswith(f"/{machine}") for d in lease.get("status", {}).get("devices", []))
        )

    eventually(nobody, seconds, f"machine {machine} is free", 0.2)


def test_a_killed_agent_is_a_typed_error_within_5_s_and_the_machine_comes_back_by_itself(broken: Stack) -> None:
    client = training(
        broken,
        "one",
        """
while True:
    try:
        step()
        digest()
        print("step", time.time())
    except torch_remote.RemoteLost as error:
        print("lost", time.time(), str(error).replace("\\n", " "))
        break
sys.stdin.readline()
lease.release()
again = torch_remote.lease(gpu="CPU", machine="one", quiet=True)
print("again", torch.ones(3, device=again.device).sum().item())
again.release()
""",
    )
    client.line("step")
    killed = time.time()
    os.kill(broken.supervisor("one"), signal.SIGKILL)
    line = client.line()
    while line.startswith("step"):
        line = client.line()
    assert line.startswith("lost")
    assert float(line.split()[1]) - killed < 5.0
    eventually(lambda: broken.phase("remotemachine", "one") != "Ready", 60, "the machine is seen to be gone", 0.1)
    broken.wait_ready("one")
    client.tell()
    assert client.line() == "again 3.0"
    client.finish()
    free(broken, "one")


def test_a_control_plane_that_is_killed_and_away_for_10_minutes_changes_nothing(
    broken: Stack, undisturbed: list[str]
) -> None:
    client = training(
        broken,
        "one",
        """
for count in range(40):
    step()
    print(digest())
    if count in (10, 20, 30):
        sys.stdin.readline()
print("left", lease.remaining.total_seconds() > 3600, lease.active)
lease.release()
""",
        ', duration="2h"',
    )
    lines = [client.line() for _ in range(11)]
    held = [lease for lease in broken.list("deviceleases") if lease["status"]["phase"] == "Bound"]
    assert len(held) == 1
    waiter = broken.client(
        'lease = torch_remote.lease(gpu="CPU", machine="one", quiet=True)\nprint("bound", lease.name)\nlease.release()\n'
    )
    waits = eventually(lambda: queued(broken), 30, "a second process waits")

    def unbound() -> bool:
        printed, _, _ = select.select([waiter.process.stdout], [], [], 0)
        return waiter.process.poll() is None and not printed

    broken.stop(signal.SIGKILL)
    client.tell()
    lines += [client.line() for _ in range(10)]
    broken.advance(600)
    client.tell()
    lines += [client.line() for _ in range(10)]
    assert unbound(), "a waiter was granted what another holds while there was no control plane"
    assert broken.binds(waits[0]) == []
    broken.start()
    same = eventually(
        lambda: [one for one in broken.list("deviceleases") if one["metadata"]["uid"] == held[0]["metadata"]["uid"]],
        30,
        "the lease is still there",
    )
    assert same[0]["status"]["phase"] == "Bound"
    assert same[0]["status"]["devices"][0]["epoch"] == held[0]["status"]["devices"][0]["epoch"]
    eventually(lambda: queued(broken) == waits, 30, "the waiter has its place in the queue again")
    assert unbound()
    client.tell()
    lines += [client.line() for _ in range(9)]
    assert lines == undisturbed
    assert client.line().startswith("left True True")
    client.finish()
    assert waiter.line() == f"bound {waits[0]}"
    assert waiter.finish() == ""
    free(broken, "one", 120)
    assert len(broken.binds(waits[0])) == 1


def test_a_client_that_is_frozen_for_2_minutes_goes_on_bit_for_bit(broken: Stack, undisturbed: list[str]) -> None:
    client = training(
        broken,
        "one",
        "for count in range(40):\n    step()\n    print(digest())\n    if count == 15: sys.stdin.readline()\nlease.release()\n",
    )
    lines = [client.line() for _ in range(16)]
    os.kill(client.pid, signal.SIGSTOP)
    broken.advance(120)
    slot = eventually(
        lambda: [one for one in broken.list("deviceleases") if one["status"]["phase"] == "Bound"],
        10,
        "the lease is held",
    )
    assert len(slot) == 1
    os.kill(client.pid, signal.SIGCONT)
    client.tell()
    lines += [client.line() for _ in range(24)]
    assert lines == undisturbed
    client.finish()
    free(broken, "one")


def test_a_killed_process_gives_its_slot_back_after_60_s(broken: Stack) -> None:
    client = training(broken, "one", "step()\nprint(digest())\nsys.stdin.readline()\n")
    client.line()
    client.process.kill()
    client.process.wait()
    # The minute counts from when the agent has seen it.
    eventually(lambda: silent(broken), 30, "the agent has seen that the process is gone")
    broken.advance(40)
    # From now on: one that waits is itself called gone when the clock goes on by more than 30 s between two renewals.
    waiter = broken.client(
        'lease = torch_remote.lease(gpu="CPU", machine="one", quiet=True)\nprint("bound")\nlease.release()\n'
    )
    eventually(lambda: queued(broken), 30, "it waits")
    assert waiter.process.poll() is None
    assert [one["status"]["phase"] for one in broken.list("deviceleases")].count("Bound") == 1
    start = time.monotonic()
    broken.advance(21)
    assert waiter.line() == "bound"
    assert time.monotonic() - start < 10
    waiter.finish()
    free(broken, "one")


def test_a_process_killed_while_it_waits_is_out_of_the_queue_after_30_s(broken: Stack) -> None:
    holder = training(broken, "one", "sys.stdin.readline()\nlease.release()\n")
    waiter = broken.client('torch_remote.lease(gpu="CPU", machine="one", quiet=True)\n')
    # At once: it has not renewed yet.
    (name,) = eventually(lambda: queued(broken), 30, "it waits")
    waiter.process.kill()
    waiter.process.wait()
    broken.advance(31)
    # The control plane does not see that the clock went on until it next looks at every lease.
    eventually(lambda: broken.phase("devicelease", name) == "Failed", 30, "it is out of the queue")
    assert ended(broken, name) == "Abandoned"
    holder.tell()
    holder.finish()
    free(broken, "one")
    assert broken.binds(name) == []


def test_a_process_killed_before_its_session_opened_gives_its_slot_back_within_70_s(broken: Stack) -> None:
    client = broken.client(
        """
import os, signal
from torch_remote import _acquisition

def killed(api, thing, attach):
    print("bound", thing["metadata"]["name"])
    os.kill(os.getpid(), signal.SIGKILL)

_acquisition._open = killed
torch_remote.lease(gpu="CPU", machine="one", quiet=True)
"""
    )
    name = client.line("bound").split()[1]
    client.process.wait()
    broken.advance(50)
    assert broken.phase("devicelease", name) == "Bound"
    broken.advance(20)
    free(broken, "one")
    assert ended(broken, name) == "NeverOpened"


def test_a_restarted_notebook_kernel_takes_its_lease_over_within_2_s(broken: Stack) -> None:
    notebook = {"JPY_SESSION_NAME": "/home/someone/experiment.ipynb"}
    code = """
import ipykernel
start = time.monotonic()
lease = torch_remote.lease(gpu="CPU", machine="one", quiet=True)
print("leased", lease.name, time.monotonic() - start)
x = torch.ones(3, device=lease.device)
print(x.sum().item())
sys.stdin.readline()
"""
    first = broken.client(code, **notebook)
    name = first.line("leased").split()[1]
    assert first.line() == "3.0"
    uid = (broken.get("devicelease", name) or {})["metadata"]["uid"]
    first.process.kill()
    first.process.wait()
    second = broken.client(code + "lease.release()\n", **notebook)
    _, again, seconds = second.line("leased").split()
    assert again == name
    assert float(seconds) < 2.0
    assert (broken.get("devicelease", name) or {})["metadata"]["uid"] == uid
    assert second.line() == "3.0"
    second.tell()
    second.finish()
    free(broken, "one")


def test_two_processes_that_race_for_one_slot_have_it_one_after_the_other(broken: Stack) -> None:
    code = """
lease = torch_remote.lease(gpu="CPU", machine="one", quiet=True)
start = time.time()
print("bound")
sys.stdin.readline()
print("span", start, time.time())
lease.release()
"""
    racers = [broken.client(code) for _ in range(2)]

    def phases() -> list[str]:
        live = [one.get("status", {}).get("phase") for one in broken.list("deviceleases")]
        return sorted(phase for phase in live if phase in ("Bound", "Queued"))

    eventually(lambda: phases() == ["Bound", "Queued"], 60, "one has it and one waits")
    for racer in racers:
        racer.tell()
    spans = sorted(tuple(map(float, racer.finish().split("span")[1].split())) for racer in racers)
    assert spans[0][1] <= spans[1][0], "both held the slot at one time"
    free(broken, "one")


def test_the_same_call_twice_is_one_lease(broken: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    client = broken.client(
        """
one = torch_remote.lease(gpu="CPU", machine="one", quiet=True)
two = torch_remote.lease(gpu="CPU", machine="one")
print(one is two, torch.remote.device_count())
one.release()
three = torch_remote.lease(gpu="CPU", machine="one", quiet=True)
print(three is one, three.active)
three.release()
"""
    )
    assert client.line() == "True 1"
    assert client.line() == "False True"
    _, err = client.process.communicate(timeout=60)
    assert "holds lease" in err
    assert "already" in err
    free(broken, "one")


@pytest.mark.parametrize("how", ["exit", "sigterm", "sigint", "exception"])
def test_a_process_that_ends_gives_its_lease_back_at_once(broken: Stack, how: str) -> None:
    endings = {
        "exit": "sys.exit(0)",
        "exception": "raise SystemError('the user program failed')",
        "sigterm": "time.sleep(60)",
        "sigint": "time.sleep(60)",
    }
    client = broken.client(
        f'lease = torch_remote.lease(gpu="CPU", machine="one", quiet=True)\nprint("bound")\n{endings[how]}\n'
    )
    client.line("bound")
    if how.startswith("sig"):
        client.process.send_signal(getattr(signal, how.upper()))
    client.process.communicate(timeout=60)
    expected = {"exit": 0, "exception": 1, "sigterm": -signal.SIGTERM, "sigint": -signal.SIGINT}
    # Python ends with 130 or of the signal itself on KeyboardInterrupt.
    assert client.process.returncode in (expected[how], 130 if how == "sigint" else expected[how])
    free(broken, "one", 10)


def test_a_programs_own_sigterm_handler_stays(broken: Stack) -> None:
    client = broken.client(
        """
import signal
signal.signal(signal.SIGTERM, lambda *_: (print("mine"), sys.exit(7)))
lease = torch_remote.lease(gpu="CPU", machine="one", quiet=True)
print("bound")
time.sleep(60)
"""
    )
    client.line("bound")
    client.process.terminate()
    assert client.finish(code=7).strip() == "mine"
    free(broken, "one", 10)


def test_a_forked_child_is_refused_and_does_not_end_the_parents_lease(broken: Stack) -> None:
    client = broken.client(
        """
import os
lease = torch_remote.lease(gpu="CPU", machine="one", quiet=True)
x = torch.ones(3, device=lease.device)
child = os.fork()
if child == 0:
    try:
        torch_remote.lease(gpu="CPU", machine="one")
    except RuntimeError as error:
        print("refused" if "forked" in str(error) else error)
    lease.release()
    sys.exit(0)
os.waitpid(child, 0)
print("parent", x.sum().item(), lease.active)
lease.release()
"""
    )
    assert client.line() == "refused"
    assert client.line() == "parent 3.0 True"
    client.finish()
    free(broken, "one")


def test_an_idle_lease_is_announced_as_a_warning_and_then_ended_with_the_reason(broken: Stack) -> None:
    client = broken.client(
        """
import warnings
warnings.showwarning = lambda message, kind, *rest: print("warned", kind.__name__, message)
lease = torch_remote.lease(gpu="CPU", machine="one", idle_timeout="10m", quiet=True)
x = torch.ones(3, device=lease.device)
torch.remote.synchronize(lease.device)
print("quiet")
sys.stdin.readline()
try:
    while True:
        x.cpu()
        time.sleep(0.05)
except torch_remote.RemoteLost as error:
    print("lost", str(error).replace("\\n", " "))
print(lease.active, torch.remote.device_count())
"""
    )
    client.line("quiet")
    # The executor may take note of its last operator only after the first step.
    for _ in range(2):
        broken.advance(600 - 30)
        if select.select([client.process.stdout], [], [], 20)[0]:
            break
    warned = client.line("warned")
    assert "RuntimeWarning remote:0" in warned
    assert "Idle" in warned
    broken.advance(60)
    eventually(lambda: broken.phase("machine", "one") == "Ready" and not live(broken), 30, "the idle lease has ended")
    client.tell()
    assert "Idle" in client.line("lost")
    assert client.line() == "False 0"
    client.finish()
    free(broken, "one")


def silent(stack: Stack) -> bool:
    """Whether an agent has told of a lease whose process is gone."""
    facts = [fact for one in stack.list("deviceleases") for fact in one["status"].get("conditions", [])]
    return any(fact["type"] == "Active" and fact["reason"] == "Disconnected" for fact in facts)


def live(stack: Stack) -> list[str]:
    """Names of leases that hold something."""
    return [one["metadata"]["name"] for one in stack.list("deviceleases") if one["status"]["phase"] == "Bound"]


def queued(stack: Stack) -> list[str]:
    """Names of leases that wait."""
    leases = stack.list("deviceleases")
    return [one["metadata"]["name"] for one in leases if one.get("status", {}).get("phase") == "Queued"]


def ended(stack: Stack, name: str) -> str:
    """Why the lease is over."""
    lease = stack.get("devicelease", name) or {}
    return str(next(fact["reason"] for fact in lease["status"]["conditions"] if fact["type"] == "Ended"))
