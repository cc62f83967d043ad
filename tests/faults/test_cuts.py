"""Connections break at any byte; no result changes."""

from __future__ import annotations

import random

import torch

import torch_remote
from stack import Stack
from torch_remote import _C

CUTS = 100


def cut(device: torch.device, after_bytes: int) -> None:
    assert device.index is not None
    _C._cut(device.index, after_bytes)


def work(device: torch.device, disturb: bool) -> list[bytes]:
    """Training with reads, large transfers both ways and data-dependent shapes; with `disturb` the connection is cut again and again."""
    chance = random.Random(7)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8))
    batches = [(torch.randn(16, 32), torch.randint(8, (16,))) for _ in range(CUTS)]
    large = torch.randn(1 << 20)
    model.to(device)
    steps = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    results = []
    for number, (x, y) in enumerate(batches):
        if disturb:
            cut(device, chance.choice([0, 1, 17, 200, 900, 1500]))  # of the 2 KiB and more that a step sends
        steps.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x.to(device)), y.to(device))
        loss.backward()
        steps.step()
        results.append(loss.detach().cpu().numpy().tobytes())
        if number % 10 == 0:
            if disturb:
                cut(device, chance.choice([5000, 100_000, 2_000_000, 6_000_000]))  # of 4 MiB up and 4 MiB down
            there = large.to(device)
            results.append((there * 2).cpu().numpy().tobytes())
            results.append(there[there > 3].cpu().numpy().tobytes())
    results.extend(value.detach().cpu().numpy().tobytes() for value in model.parameters())
    return results


def test_100_cuts_at_random_points_change_no_bit(stack: Stack) -> None:
    with torch_remote.lease(gpu="CPU", machine="shared", name="steady", quiet=True) as lease:
        undisturbed = work(lease.device, disturb=False)
        assert lease.stats()["reconnects"] == 0
    with torch_remote.lease(gpu="CPU", machine="shared", name="cut", quiet=True) as lease:
        disturbed = work(lease.device, disturb=True)
        assert lease.stats()["reconnects"] >= CUTS
        live = lease.stats()["live_storages"]
    assert len(disturbed) == len(undisturbed)
    assert [a == b for a, b in zip(disturbed, undisturbed, strict=True)].count(False) == 0
    assert live < 100
