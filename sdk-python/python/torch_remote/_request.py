"""What a call of `lease` asks for, checked before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ._api import API_VERSION, Json
from ._identity import Identity
from ._machines import GPUType, RemoteMachine

__all__ = ["Request", "checked", "named_gpus"]

# Annotation: how the control plane learns that the process which waits is alive.
_WAITER = "torchremote.dev/waiter"


class Request:
    """A checked call of `lease`: what is asked for, apart from who asks."""

    def __init__(
        self, gpu: Sequence[str], count: int, mode: str, memory: str | None, machine: str | None, pool: str | None
    ) -> None:
        self.gpu, self.count, self.mode, self.memory, self.machine, self.pool = gpu, count, mode, memory, machine, pool
        self.name: str | None = None
        self.namespace: str | None = None
        self.times: dict[str, str] = {}
        self.priority: int | None = None

    @property
    def selector(self) -> str:
        """All that says which GPUs are meant: equal selectors mean the same lease."""
        what = "+".join(self.gpu) or "gpu"
        optional = [self.memory, self.machine, self.pool, self.name, self.namespace]
        return ",".join([what, str(self.count), self.mode, *(one or "" for one in optional)])

    def __str__(self) -> str:
        what = " or ".join(f"{self.count} x {gpu}" for gpu in self.gpu) or f"{self.count} GPU"
        of = f" of machine {self.machine}" if self.machine else f" of pool {self.pool}" if self.pool else ""
        return what + of

    def manifest(self, identity: Identity) -> Json:
        spec: Json = {"mode": self.mode, "resumable": identity.resumable, **self.times}
        if self.gpu:
            spec["gpu"] = [{"type": gpu, "count": self.count} for gpu in self.gpu]
        if self.memory is not None:
            spec["gpuMemory"] = self.memory
        if self.priority is not None:
            spec["priority"] = self.priority
        for field, value in (("machineRef", self.machine), ("poolRef", self.pool)):
            if value is not None:
                namespace, _, name = value.rpartition("/")
                spec[field] = {"name": name, **({"namespace": namespace} if namespace else {})}
        # Known from the first moment on: without it a process that dies before its first renewal would be waited for.
        metadata = {"name": identity.name, "annotations": {_WAITER: "Renews"}}
        return {"apiVersion": API_VERSION, "kind": "DeviceLease", "metadata": metadata, "spec": spec}


def named_gpus() -> list[str]:
    """The types that TORCH_REMOTE_GPU names, in order; none where it is not set."""
    return [one.strip() for one in os.environ.get("TORCH_REMOTE_GPU", "").split(",") if one.strip()]


def checked(
    gpu: str | GPUType | Sequence[str | GPUType] | None,
    count: int,
    mode: str,
    memory: str | None,
    machine: str | RemoteMachine | None,
    pool: str | None,
) -> Request:
    """The request of a call with these arguments.

    Raises:
        ValueError: an argument that no control plane would take.
    """
    types: list[str] = []
    if gpu is None and machine is None and pool is None:
        gpu = named_gpus()
        if not gpu:
            raise ValueError(
                'say which GPU: torch_remote.lease(gpu="A100-80GB"), a machine, a pool, or set TORCH_REMOTE_GPU'
            )
    if gpu is not None:
        given = [gpu] if isinstance(gpu, (str, GPUType)) else list(gpu)
        types = [GPUType.parse(one).value for one in given]
    if not isinstance(count, int) or not 1 <= count <= 16:
        raise ValueError(f"count={count!r} must be a whole number from 1 to 16")
    if mode not in ("Exclusive", "Shared"):
        raise ValueError(f'mode={mode!r} must be "Exclusive" or "Shared"')
    if (mode == "Shared") != (memory is not None):
        raise ValueError('mode="Shared" and memory= go together: memory="8Gi" is the share of the GPU\'s memory')
    named = machine.name if isinstance(machine, RemoteMachine) else machine
    return Request(types, count, mode, memory, named, pool)
