"""Fixtures of all Python tests: one control plane per run, and leases on it in this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from stack import Stack

if TYPE_CHECKING:
    import torch

    from torch_remote import Lease


# A shell that starts the tests in the background has them ignore Ctrl-C, and with them the programs they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A control plane with a machine `shared` of four CPU slots, for tests that break nothing."""
    import torch

    torch.set_num_threads(1)
    with Stack() as running:
        running.machine("shared", slots=4)
        before = os.environ.get("KUBECONFIG")
        os.environ["KUBECONFIG"] = str(running.kubeconfig)
        yield running
        if before is None:
            del os.environ["KUBECONFIG"]
        else:
            os.environ["KUBECONFIG"] = before


@pytest.fixture(scope="module")
def lease(stack: Stack) -> Iterator[Lease]:
    """A lease that the tests of one module share."""
    import torch_remote

    with torch_remote.lease(machine="shared", gpu="CPU", quiet=True) as held:
        yield held


@pytest.fixture
def device(lease: Lease) -> torch.device:
    """The device of the module's lease."""
    return lease.device
