"""A control plane of its own for requests of any kind, its documents, and who calls."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from caller import Caller
from stack import Stack
from world import World

MEMORY = "/dev/shm"
ENOUGH = 2 << 30


def memory() -> str | None:
    """A folder in memory, where there is one with room."""
    return MEMORY if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH else None


@pytest.fixture(scope="module")
def server() -> Iterator[Stack]:
    """Spoilt by each file of tests, so each has its own. Much is written, and nothing of it has to last: it lies in memory where it can."""
    with Stack(within=memory()) as running:
        yield running


@pytest.fixture(scope="module")
def administrator(server: Stack) -> Caller:
    """May do everything."""
    return Caller.administrator(server)


@pytest.fixture(scope="module")
def world(administrator: Caller) -> World:
    """What is sent to."""
    return World(administrator)
