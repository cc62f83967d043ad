"""How long a thousand manifests take: `torch-remote apply` against `kubectl apply`, new, the same again, and changed. Prints a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from stack import Stack

DOCUMENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
GOAL_SECONDS = 5.0
# Served by nobody: what is measured is the API, not providers.
PROVIDER = {
    "apiVersion": "torchremote.dev/v1alpha1",
    "kind": "Provider",
    "metadata": {"name": "shelf"},
    "spec": {"type": "Static"},
}


def fleet(namespace: str, hours: int) -> str:
    """So many machines, suspended: nothing is made of them."""
    spec = {"provider": "shelf", "gpu": {"type": "CPU"}, "timeout": f"{hours}h", "suspend": True}
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


def seconds(stack: Stack, program: str, text: str, *words: str) -> float:
    """How long the program takes to apply the text."""
    begun = time.monotonic()
    done = subprocess.run(
        [program, "apply", "-f", "-", *words], env=stack.env, input=text, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == DOCUMENTS
    return time.monotonic() - begun


def main() -> None:
    with Stack() as stack:
        stack.apply(PROVIDER)
        print(
            f"{DOCUMENTS} documents on {os.cpu_count()} cores; goal: new ones within {GOAL_SECONDS:g} s by torch-remote"
        )
        print(f"{'':24}{'new':>9}{'again':>9}{'changed':>9}")
        programs = [("torch-remote apply", "torch-remote"), ("kubectl apply", "kubectl")]
        for title, program in programs[: 1 if "--ours" in sys.argv else 2]:
            namespace = f"bench-{program}"
            stack.run("kubectl", "create", "namespace", namespace)
            took = [seconds(stack, program, fleet(namespace, hours)) for hours in (2, 2, 3)]
            print(f"{title:24}" + "".join(f"{value:8.2f}s" for value in took), flush=True)


if __name__ == "__main__":
    main()
