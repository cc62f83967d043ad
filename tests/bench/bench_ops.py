"""What issuing an operator costs, beside CPU eager in the same run: time per call, reads, transfers. Ratios count; this machine's own times do not.

usage: make bench
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable

import torch

torch.set_num_threads(1)

import torch_remote  # noqa: E402
from stack import Stack  # noqa: E402

Operator = Callable[[torch.device], Callable[[], object]]


def operators() -> dict[str, Operator]:
    def on(*shapes: tuple[int, ...]) -> Callable[[torch.device], list[torch.Tensor]]:
        return lambda device: [torch.ones(shape, device=device) for shape in shapes]

    def make(shapes: list[tuple[int, ...]], run: Callable[..., object]) -> Operator:
        def prepare(device: torch.device) -> Callable[[], object]:
            inputs = on(*shapes)(device)
            return lambda: run(*inputs)

        return prepare

    functional = torch.nn.functional
    return {
        "add": make([(8, 8), (8, 8)], torch.add),
        "add_": make([(8, 8), (8, 8)], lambda a, b: a.add_(b)),
        "mul scalar": make([(8, 8)], lambda a: a * 1.5),
        "mm": make([(8, 8), (8, 8)], torch.mm),
        "linear": make([(8, 8), (8, 8), (8,)], functional.linear),
        "view": make([(8, 8)], lambda a: a.view(64)),
        "sum": make([(8, 8)], torch.sum),
        "layer_norm": make([(8, 8)], lambda a: functional.layer_norm(a, (8,))),
        "softmax": make([(8, 8)], lambda a: torch.softmax(a, 1)),
        "relu_": make([(8, 8)], torch.relu_),
        "cat of 4": make([(8, 8)] * 4, lambda *all: torch.cat(all)),
    }


def per_call(run: Callable[[], object], settle: Callable[[], object]) -> float:
    """Microseconds per call: the best of several rounds, each of 300 calls, between which the queue is emptied."""
    rounds = []
    for _ in range(9):
        settle()
        start = time.perf_counter()
        for _ in range(300):
            run()
        rounds.append((time.perf_counter() - start) / 300 * 1e6)
    settle()
    return min(rounds[2:])


def measure(device: torch.device) -> dict[str, float]:
    def settle() -> object:
        return torch.remote.synchronize(device) if device.type == "remote" else None

    found = {name: per_call(prepare(device), settle) for name, prepare in operators().items()}
    one = torch.ones((), device=device)
    reads = []
    for _ in range(500):
        start = time.perf_counter()
        one.item()
        reads.append((time.perf_counter() - start) * 1e6)
    found["item() p50"] = statistics.median(reads)
    local = torch.ones(16 << 20)
    there = local.to(device)
    for name, move in (("64 MiB up", lambda: local.to(device)), ("64 MiB down", lambda: there.cpu())):
        settle()
        best = math.inf
        for _ in range(4):
            start = time.perf_counter()
            move()
            settle()
            best = min(best, time.perf_counter() - start)
        found[name] = best * 1e6
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", help="also write the numbers to this file")
    arguments = parser.parse_args()
    with Stack() as stack:
        stack.machine("bench")
        os.environ["KUBECONFIG"] = str(stack.kubeconfig)
        with torch_remote.lease(gpu="CPU", machine="bench", quiet=True) as lease:
            remote = measure(lease.device)
            leaked = lease.stats()["live_storages"]
    local = measure(torch.device("cpu"))
    print(f"{'':14}{'remote us':>12}{'CPU us':>12}{'ratio':>8}")
    for name in operators():
        print(f"{name:14}{remote[name]:12.2f}{local[name]:12.2f}{remote[name] / local[name]:8.2f}")
    print(f"{'item() p50':14}{remote['item() p50']:12.2f}")
    for name in ("64 MiB up", "64 MiB down"):
        print(f"{name:14}{remote[name]:12.0f}{(64 << 20) / remote[name] / 1e3:12.2f} GB/s")
    ratios = [remote[name] / local[name] for name in operators()]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"issue cost, geometric mean: {mean:.2f} x CPU eager; storages alive at the end: {leaked}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"remote": remote, "cpu": local, "mean": mean}, file, indent=1)


if __name__ == "__main__":
    main()
