"""A control plane for all tests of clients, each kubectl there is, and a namespace per test."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver import GROUP, SHELF, Kubectl, programs
from stack import Stack

NUMBERS = itertools.count(1)


def version(program: str) -> str:
    """`v1.37.1`: names the tests of a program."""
    said = subprocess.run([program, "version", "--client", "-o", "json"], capture_output=True, text=True, timeout=60)
    return str(json.loads(said.stdout)["clientVersion"]["gitVersion"]).split("-")[0]


@pytest.fixture(scope="session")
def server() -> Iterator[Stack]:
    """A control plane with a provider whose machines fail at once."""
    with Stack() as running:
        running.apply(
            {"apiVersion": GROUP, "kind": "Provider", "metadata": {"name": SHELF}, "spec": {"type": "Static"}}
        )
        yield running


@pytest.fixture
def namespace(server: Stack) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"test-{next(NUMBERS)}"
    server.run("kubectl", "create", "namespace", name)
    yield name
    server.run("kubectl", "delete", "namespace", name, "--wait=false", check=False)


@pytest.fixture(params=programs(), ids=version)
def kubectl(request: pytest.FixtureRequest, server: Stack, namespace: str, tmp_path: Path) -> Iterator[Kubectl]:
    """Each kubectl there is."""
    program = Kubectl(request.param, server.env, namespace, tmp_path)
    yield program
    program.close()
