"""Who has logged in once trains and watches on, although tokens live a minute."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from issuer import Issuer
from stack import ROOT, Stack

LIFE = 60
STEPS, SECONDS = 40, 15  # ten minutes; an agent that hears nothing for so long does not mind yet

# One step on request. Beside it, a question to the control plane, as the user of a lease asks it.
TRAINING = """
{device}
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4)).to(device)
x, y = torch.randn(64, 16).to(device), torch.randint(4, (64,)).to(device)
steps = torch.optim.Adam(model.parameters(), lr=1e-2)
print("ready")
for _ in sys.stdin:
    steps.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    steps.step()
    {ask}
    print("loss", loss.item().hex())
"""
REMOTE = TRAINING.format(
    device="lease = torch_remote.lease(gpu='CPU', machine='one', quiet=True)\ndevice = lease.device",
    ask="assert lease.cost() is None",
)
LOCAL = TRAINING.format(device="device = torch.device('cpu')", ask="pass")


@pytest.fixture
def stack_of_a_minute(tmp_path: Path) -> Iterator[tuple[Stack, Issuer]]:
    """A control plane that trusts an issuer, with a machine `one`. torch-remote, its agents and the issuer, but neither Postgres nor kubectl, live by the tests' clock."""
    stack = Stack()
    issuer = Issuer("ana", LIFE, lambda: time.time() + int(stack.clock.read_text()) / 1000)
    library, trusted = tmp_path / "clock.so", tmp_path / "issuers.yaml"
    # Named as the program: the control plane knows its agents by that.
    agent = tmp_path / "torch-remote-agent"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, ROOT / "tests" / "clock.c"], check=True)
    trusted.write_text(json.dumps([issuer.settings()]))
    clock = {"LD_PRELOAD": str(library), "TORCH_REMOTE_TEST_CLOCK": str(stack.clock)}
    # Agents are started with an environment of their own.
    program = shutil.which("torch-remote-agent")
    exports = " ".join(f"{name}={value}" for name, value in clock.items())
    agent.write_text(f'#!/bin/sh\nexport {exports}\nexec {program} "$@"\n')
    agent.chmod(0o755)
    stack.env |= {**clock, "TORCH_REMOTE_AGENT": str(agent), "TORCH_REMOTE_OIDC_CONFIG": str(trusted)}
    try:
        with stack:
            stack.machine("one")
            yield stack, issuer
    finally:
        issuer.close()


def logged_in(stack: Stack) -> dict[str, str]:
    """The environment of a person who has logged in with the program: one kubeconfig, whose user is a program."""
    cluster = json.loads(stack.run("kubectl", "config", "view", "--raw", "-o", "json").stdout)["clusters"][0]["cluster"]
    authority = stack.folder / "ca.pem"
    authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    stack.run("kubectl", "create", "clusterrolebinding", "ana", "--clusterrole=user", "--user=oidc:ana")
    config = stack.folder / "ana"
    login = ["torch-remote", "login", cluster["server"], "--certificate-authority", str(authority)]
    said = stack.run(*login, "--kubeconfig", str(config)).stdout
    assert "Logged in as oidc:ana." in said
    return {**stack.env, "KUBECONFIG": str(config)}


def test_ten_minutes_of_training_and_a_watch_never_notice_that_tokens_live_a_minute(
    stack_of_a_minute: tuple[Stack, Issuer],
) -> None:
    stack, issuer = stack_of_a_minute
    ana = logged_in(stack)
    first = subprocess.run(
        ["torch-remote", "token"], env=ana, capture_output=True, text=True, check=True
    ).stdout.strip()
    step = 'jsonpath={.metadata.annotations.step}{"\\n"}'
    watch = subprocess.Popen(
        ["kubectl", "get", "remotemachine", "one", "-w", "-o", step],
        env=ana,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert watch.stdout is not None
        assert watch.stdout.readline() == "\n"
        remote, local = stack.client(REMOTE, **ana), stack.client(LOCAL)
        for client in (remote, local):
            client.line("ready")
        renewals = issuer.asked["refresh_token"]
        for number in range(STEPS):
            stack.advance(SECONDS)
            for client in (remote, local):
                client.tell()
            assert remote.line("loss") == local.line("loss"), f"step {number}"
            stack.run("kubectl", "annotate", "remotemachine", "one", f"step={number}", "--overwrite")
            # Heartbeats of its agent change it too; nothing but its annotation is looked at.
            seen = watch.stdout.readline()
            while seen == (f"{number - 1}\n" if number else "\n"):
                seen = watch.stdout.readline()
            assert seen == f"{number}\n"
        renewals = issuer.asked["refresh_token"] - renewals
        assert STEPS * SECONDS // LIFE <= renewals <= 2 * STEPS * SECONDS // LIFE, renewals
        config = json.loads(stack.run("kubectl", "config", "view", "--raw", "-o", "json").stdout)
        config["users"][0]["user"] = {"token": first}
        (stack.folder / "first").write_text(json.dumps(config))
        refused = stack.run("kubectl", "--kubeconfig", str(stack.folder / "first"), "auth", "whoami", check=False)
        assert "Unauthorized" in refused.stderr, "the first token has ended"
        for client in (remote, local):
            assert client.process.stdin is not None
            client.process.stdin.close()
            client.process.wait(60)
            assert client.process.returncode == 0
        assert watch.poll() is None, "one process, all the time"
    finally:
        watch.terminate()
        _, errors = watch.communicate(timeout=60)
    assert errors == ""
