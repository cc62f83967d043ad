"""What a user does, from nothing to a trained model: start a control plane, apply a manifest, lease the machine, train, give everything back.

Each step prints the command behind it; every command works in a terminal of yours too. Run it with `make demo`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import torch_remote

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = "manifests/examples/local-cpu.yaml"
EPOCHS, BATCH, RATE = 30, 64, 0.03
TOLERANCE = 1e-5
START_SECONDS = 120.0

Data = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="torch-remote-demo-"))
    folder.chmod(0o755)  # as root, Postgres runs under another user and must be able to enter
    start = time.monotonic()
    # As many as executors of the local provider use: kernels then add up in the same order on both sides, and rounding is the same.
    torch.set_num_threads(max((os.cpu_count() or 1) // 2, 1))
    try:
        with control_plane(folder):
            apply_and_wait()
            train_on_a_lease()
            say("Delete the machine", f"torch-remote delete -f {MANIFEST}")
            run("torch-remote", "delete", "-f", MANIFEST)
            run("kubectl", "get", "machines")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\nDone in {time.monotonic() - start:.1f} s. Nothing of it is left running, and nothing on the disk.")
    return 0


@contextmanager
def control_plane(folder: Path) -> Iterator[None]:
    """A control plane with a database of its own, in the background, until the block ends."""
    data, ready, log = folder / "data", folder / "ready", folder / "log"
    start = time.monotonic()
    say("Start a control plane on this machine", f"torch-remote up --data-dir {data} --ready-file {ready} &")
    with log.open("w") as output:
        process = subprocess.Popen(
            ["torch-remote", "up", "--data-dir", str(data), "--ready-file", str(ready)],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(ready.exists, process, log)
        os.environ["KUBECONFIG"] = ready.read_text().strip()
        print(f"   up after {time.monotonic() - start:.1f} s; export KUBECONFIG={os.environ['KUBECONFIG']}")
        yield
    finally:
        say("Stop it", f"kill {process.pid}")
        process.terminate()
        code = process.wait(60)
    if code not in (0, -15):
        raise SystemExit(f"the control plane ended with exit code {code}; its log:\n{log.read_text()[-4000:]}")


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline, said = time.monotonic() + START_SECONDS, time.monotonic()
    while not condition():
        if process.poll() is not None:
            raise SystemExit(
                f"the control plane ended with exit code {process.returncode}; its log:\n{log.read_text()[-4000:]}"
            )
        if time.monotonic() > deadline:
            raise SystemExit(
                f"the control plane is not up after {START_SECONDS:.0f} s; its log:\n{log.read_text()[-4000:]}"
            )
        if time.monotonic() - said > 8:
            print("   … starting", flush=True)
            said = time.monotonic()
        time.sleep(0.05)


def apply_and_wait() -> None:
    say("Ask for a machine", f"torch-remote apply -f {MANIFEST}")
    print(indent((ROOT / MANIFEST).read_text().strip()))
    run("torch-remote", "apply", "-f", MANIFEST)
    say("Wait until it is Ready", "torch-remote wait machine --all --for=condition=Ready --timeout=3m")
    run("torch-remote", "wait", "machine", "--all", "--for=condition=Ready", "--timeout=3m")
    say("Look at it with kubectl, as at any Kubernetes object", "kubectl get machines")
    run("kubectl", "get", "machines")


def train_on_a_lease() -> None:
    digits = load_digits()
    parts = train_test_split(digits.data / 16.0, digits.target, test_size=0.25, random_state=0)
    train_x, test_x = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
    train_y, test_y = (torch.tensor(part, dtype=torch.int64) for part in parts[2:])
    data = (train_x, train_y, test_x, test_y)
    say("Lease it from Python, as a device", 'lease = torch_remote.lease(gpu="CPU", duration="1h")')
    lease = torch_remote.lease(gpu="CPU", duration="1h")
    print(f"   {lease!r}")
    say(
        f"Train a classifier on scikit-learn's {len(train_x)} handwritten digits, {EPOCHS} epochs, on {lease.device}",
        "model.to(lease.device); ordinary PyTorch from here on",
    )
    remote_seconds, remote = train(lease.device, data)
    lease.keep(next(remote.parameters()), "digits.first.weight")
    stats = lease.stats()
    say("The same on this machine's CPU, beside it", 'train(torch.device("cpu"))')
    cpu_seconds, cpu = train(torch.device("cpu"), data)
    compare(remote, cpu)
    report(stats, remote_seconds, cpu_seconds)
    say("The storages of the lease, as the agent reports them", "kubectl get tensors")
    run("kubectl", "get", "tensors")
    say("Give it back", "lease.release()")
    lease.release()
    run("kubectl", "get", "leases")


def train(device: torch.device, data: Data) -> tuple[float, torch.nn.Sequential]:
    """Trains from fixed weights in a fixed order; prints the loss of each epoch and the accuracy. Returns the seconds and the model."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
    )
    order = [torch.randperm(len(data[0])) for _ in range(EPOCHS)]
    start = time.monotonic()
    model.to(device)
    train_x, train_y, test_x, test_y = (part.to(device) for part in data)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    for epoch in range(EPOCHS):
        total = torch.zeros((), device=device)
        batches = order[epoch].to(device).split(BATCH)
        for batch in batches:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(train_x[batch]), train_y[batch])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        # The only read of the epoch.
        print(f"   epoch {epoch + 1:2d}  loss {total.item() / len(batches):.4f}", flush=True)
    with torch.no_grad():
        right = (model(test_x).argmax(1) == test_y).float().mean().item()
    seconds = time.monotonic() - start
    print(f"   test accuracy {right:.1%}, {seconds:.2f} s")
    if right < 0.9:
        raise SystemExit(f"the classifier is right in {right:.1%} of the cases only: this is a bug")
    return seconds, model


def compare(remote: torch.nn.Module, cpu: torch.nn.Module) -> None:
    worst = max(
        (a.detach().cpu() - b.detach()).abs().max().item()
        for a, b in zip(remote.parameters(), cpu.parameters(), strict=True)
    )
    print(f"   largest difference of any parameter: {worst:.2e} (allowed: {TOLERANCE:.0e})")
    if not worst <= TOLERANCE:
        raise SystemExit("the remote and the local model differ: this is a bug")


def report(stats: dict[str, int], remote_seconds: float, cpu_seconds: float) -> None:
    print(
        f"""
   operators issued       {stats["ops"]:>12,}
   operators per second   {stats["ops"] / remote_seconds:>12,.0f}
   bytes sent             {stats["bytes_sent"]:>12,}
   bytes received         {stats["bytes_received"]:>12,}
   synchronisations       {stats["syncs"]:>12,}   (one read per epoch, one for the accuracy)
   signatures learned     {stats["cache_misses"]:>12,}   (all other operators were sent as a number and ids)
   round trip             {stats["round_trip_us"]:>12,} us
   time on the lease      {remote_seconds:>12.2f} s
   time on this CPU       {cpu_seconds:>12.2f} s   (the lease is on the same CPU, in another process)"""
    )


def say(what: str, command: str) -> None:
    print(f"\n== {what}\n   $ {command}", flush=True)


def run(*command: str) -> None:
    """Runs a command in the repository's folder and shows what it prints."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    print(indent((done.stdout + done.stderr).strip()), flush=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed with exit code {done.returncode}")


def indent(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
