"""What the API costs with 20,000 machines stored: applies, single calls, watchers, memory and start, each beside what it must be. Prints a table.

usage: make bench ARGS='api ...': `--machines N` (20000), `--seconds N` of each load (20), `--quick` (a tenth of everything)

The clients share the cores with what is measured, and the database too. The control plane and the load are built with --release.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from stack import Stack, eventually

DOCUMENTS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machines", type=int, default=20_000, help="stored before anything is measured")
    parser.add_argument("--seconds", type=int, default=20, help="length of each load")
    parser.add_argument("--quick", action="store_true", help="a tenth of machines and watchers: is it all there?")
    arguments = parser.parse_args()
    tenth = 10 if arguments.quick else 1
    # One descriptor for each watcher, on both sides.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    release = os.environ["TORCH_REMOTE_RELEASE"]
    path = os.pathsep.join([release, os.environ["PATH"]])
    # Those who run the bench on a laptop still see its descriptors used up first.
    limits = {"TORCH_REMOTE_MAX_CONNECTIONS": "20000", "TORCH_REMOTE_USER_WATCHES": "20000"}
    os.environ["PATH"] = path
    with Stack(PATH=path, **limits) as stack:
        Bench(stack, arguments.machines // tenth, arguments.seconds, tenth).run()
    if MISSED:
        raise SystemExit(f"bench_api: more than it must be: {'; '.join(MISSED)}")


class Bench:
    """One control plane, and what is asked of it."""

    def __init__(self, stack: Stack, machines: int, seconds: int, tenth: int) -> None:
        self.stack, self.machines, self.seconds, self.tenth = stack, machines, seconds, tenth

    def run(self) -> None:
        cores = os.cpu_count()
        print(
            f"{self.machines} machines on {cores} cores, which clients and database share; each load {self.seconds} s"
        )
        print(f"{'':46}{'measured':>24}   {'must':>10} {'aim':>9}")
        empty = self.memory()
        filled = self.load("fill", str(self.machines))
        row("machines made a second, 8 writers", f"{filled['count'] / filled['seconds']:.0f}")
        self.started(empty)
        self.applies()
        self.calls()
        for watchers, rate, which in ((1000, 50, "all"), (1000, 50, "own"), (10_000, 5, "all"), (10_000, 50, "own")):
            self.watched(watchers // self.tenth, rate, which)

    def load(self, *words: str) -> dict[str, Any]:
        command = ["torch-remote-load", str(self.stack.kubeconfig), *words]
        done = subprocess.run(command, env=self.stack.env, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, done.stderr[-3000:] + self.stack.tail()
        measured: dict[str, Any] = json.loads(done.stdout)
        return measured

    def memory(self) -> float:
        """Resident memory of the control plane, KiB."""
        assert self.stack.process is not None
        status = Path(f"/proc/{self.stack.process.pid}/status").read_text()
        return float(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])

    def started(self, empty: float) -> None:
        """A replica that starts: until it is ready, and what it holds for each object."""
        self.stack.stop()
        self.stack.start()
        held = (self.memory() - empty) / self.machines
        row("memory of an object", f"{held:.1f} KiB", "20 KiB", held <= 20)
        took = self.replica()
        row(f"start to ready with {self.machines} objects", f"{took:.2f} s", "2 s", took <= 2, "1 s")

    def replica(self) -> float:
        """Seconds from the start of a second replica until /readyz says ok."""
        data = self.stack.data
        lines = (data / "postgres" / "data" / "postmaster.pid").read_text().splitlines()
        url = f"postgres://torch_remote@localhost:{lines[3]}/torch_remote?host={lines[4]}"
        with tempfile.TemporaryDirectory() as folder:
            kubeconfig = Path(folder) / "kubeconfig"
            port = free_port()
            env = {**self.stack.env, "DATABASE_URL": url}
            command = ["torch-remote", "serve", "--listen", f"127.0.0.1:{port}", "--key-file", str(data / "key")]
            command += ["--admin-kubeconfig", str(kubeconfig), "--state-dir", folder]
            begun = time.monotonic()
            with open(Path(folder) / "log", "w+") as log:
                process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
                try:
                    eventually(lambda: ready(port, process), 60, "the replica is ready", every=0.01)
                    return time.monotonic() - begun
                finally:
                    process.send_signal(signal.SIGTERM)
                    process.wait(60)

    def applies(self) -> None:
        for program, goal in (("torch-remote", 5.0), ("kubectl", None)):
            namespace = f"bench-{program}"
            self.stack.run("kubectl", "create", "namespace", namespace)
            new, again, changed = (self.apply(program, fleet(namespace, hours)) for hours in (2, 2, 3))
            title = f"{program} apply of {DOCUMENTS}: new / again / changed"
            figures = f"{new:.1f} / {again:.1f} / {changed:.1f} s"
            row(title, figures, f"{goal:g} s" if goal else "", goal is None or new <= goal)

    def apply(self, program: str, text: str) -> float:
        begun = time.monotonic()
        command = [program, "apply", "-f", "-"]
        done = subprocess.run(command, env=self.stack.env, input=text, capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, done.stderr[-2000:]
        assert len(done.stdout.splitlines()) == DOCUMENTS
        return time.monotonic() - begun

    def calls(self) -> None:
        musts = {"get": 20, "create": 100, "patch": 100}
        for name, times in self.load("calls", str(self.seconds)).items():
            must = musts.get(name)
            figures = f"{times['p50']:.1f} / {times['p99']:.1f} ms"
            row(f"{name}: p50 / p99", figures, f"{must} ms" if must else "", must is None or times["p99"] <= must)

    def watched(self, watchers: int, rate: int, which: str) -> None:
        seen = self.load("watch", str(watchers), str(self.seconds), str(rate), which)
        whole = seen["events seen"] >= seen["events wanted"]
        lag, what = seen["lag"], "all machines" if which == "all" else "a namespace"
        title = f"{watchers} watchers of {what}, {rate} writes/s: lag"
        many = watchers > 1000
        row(
            title + ("" if whole else f" ({seen['events wanted'] - seen['events seen']} LOST)"),
            f"{lag['p50']:.0f} / {lag['p99']:.0f} ms",
            "" if many else "500 ms",
            whole and (many or lag["p99"] <= 500),
            "200 ms" if many else "",
        )


MISSED: list[str] = []


def row(title: str, measured: str, must: str = "", kept: bool = True, aim: str = "") -> None:
    if not kept:
        MISSED.append(title)
    print(f"{title:46}{measured:>24}   {must:>10} {aim:>9}{'' if kept else '  MISSED'}", flush=True)


def fleet(namespace: str, hours: int) -> str:
    """So many machines, suspended: nothing is made of them."""
    spec = {"provider": "local", "gpu": {"type": "CPU"}, "timeout": f"{hours}h", "suspend": True}
    documents = [
        {
            "apiVersion": "torchremote.dev/v1alpha1",
            "kind": "RemoteMachine",
            "metadata": {"name": f"box-{number:04}", "namespace": namespace},
            "spec": spec,
        }
        for number in range(DOCUMENTS)
    ]
    return "".join(f"---\n{json.dumps(document)}\n" for document in documents)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def ready(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "the replica has ended"
    # Only its word that it is ready is wanted, not who says so.
    anyone = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/readyz", timeout=2, context=anyone):
            return True
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    main()
