"""Machines as Python objects: the names kept from the project this grew from, over ordinary manifests applied as the user.

Owns `RemoteMachine`, the registry of those this process made, and how a manifest is written. Leaves leases to `_leases`.
"""

from __future__ import annotations

import difflib
import threading
import uuid
from collections.abc import Iterator
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING

import torch

from . import _duration, _progress
from ._api import API_VERSION, Api, Json, condition
from ._duration import Duration
from .errors import TorchRemoteError, Unsupported

if TYPE_CHECKING:
    from ._leases import Lease

__all__ = ["BackendProvider", "DeviceRegistry", "GPUType", "RemoteMachine", "create_modal_machine", "registry"]


class GPUType(Enum):
    """The GPU types there are, by the names manifests use."""

    T4 = "T4"
    L4 = "L4"
    A10G = "A10G"
    A100_40GB = "A100-40GB"
    A100_80GB = "A100-80GB"
    L40S = "L40S"
    H100 = "H100"
    H200 = "H200"
    B200 = "B200"
    CPU = "CPU"

    @classmethod
    def parse(cls, given: str | GPUType) -> GPUType:
        """The type of that name.

        Raises:
            ValueError: there is none; says what exists and what is near.
        """
        if isinstance(given, cls):
            return given
        for one in cls:
            if one.value == given:
                return one
        names = [one.value for one in cls]
        near = [name for name in names if name.startswith(str(given))] or difflib.get_close_matches(
            str(given), names, 2, 0.6
        )
        hint = f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
        raise ValueError(f"unknown GPU type {given!r}: choose one of {', '.join(names)}{hint}")


class BackendProvider(Enum):
    """Where machines come from: the name of the Provider object."""

    LOCAL = "local"
    MODAL = "modal"
    KUBERNETES = "kubernetes"
    STATIC = "static"


class RemoteMachine:
    """A RemoteMachine object on the control plane. Equal and hashed by `id`, which is `<provider>-<gpu>-<uuid>` and the object's name."""

    def __init__(
        self,
        gpu_type: str | GPUType,
        provider: str | BackendProvider = BackendProvider.MODAL,
        *,
        timeout: Duration = "1h",
        idle_timeout: Duration = "15m",
        namespace: str | None = None,
    ) -> None:
        self.gpu_type = GPUType.parse(gpu_type)
        self.provider = provider.value if isinstance(provider, BackendProvider) else provider
        self.id = f"{self.provider}-{self.gpu_type.value.lower()}-{uuid.uuid4()}"
        self._times = {
            "timeout": _duration.text(timeout, "timeout"),
            "idleTimeout": _duration.text(idle_timeout, "idle_timeout"),
        }
        self._api = Api(namespace)
        self._lease: Lease | None = None
        registry.register(self)

    @property
    def name(self) -> str:
        """namespace/name of the object."""
        return f"{self._api.namespace}/{self.id}"

    @property
    def device_id(self) -> str:
        """`id`, under its former name."""
        return self.id

    @property
    def manifest(self) -> Json:
        """What `start` applies."""
        spec = {"provider": self.provider, "gpu": {"type": self.gpu_type.value, "count": 1}, **self._times}
        return {"apiVersion": API_VERSION, "kind": "RemoteMachine", "metadata": {"name": self.id}, "spec": spec}

    def start(self, wait: Duration = "15m", quiet: bool = False) -> RemoteMachine:
        """Applies the manifest and waits until the machine is Ready. Does nothing when it exists already.

        Raises:
            Unsupported: the control plane has no such Provider.
            TorchRemoteError: the machine Failed, or is not Ready after `wait`.
        """
        if self._api.get("remotemachines", self.id) is None:
            self._check_provider()
            self._api.create("remotemachines", self.manifest)
        progress = _progress.Progress(quiet)

        def seen(thing: Json | None) -> bool:
            if thing is None:
                raise TorchRemoteError(f"machine {self.id} was deleted while it was waited for", reason="Deleted")
            phase: str = thing.get("status", {}).get("phase", "Pending")
            if phase in ("Failed", "Expired", "Terminating"):
                why = condition(thing, phase).get("message", "")
                raise TorchRemoteError(
                    f"machine {self.id} is {phase}",
                    why,
                    f"see `kubectl describe machine {self.id}`",
                    reason=f"Machine{phase}",
                )
            if phase != "Ready":
                progress.show(f"machine {self.id} is {phase}")
            return phase == "Ready"

        seconds = _duration.seconds(wait, "wait")
        if not self._api.follow("remotemachines", self.id, seen, seconds):
            progress.abandon()
            raise TorchRemoteError(
                f"machine {self.id} is not Ready after {seconds:g} s",
                fix=f"see `kubectl describe machine {self.id}`",
                reason="MachineTimeout",
            )
        progress.done(f"machine {self.id} is Ready")
        return self

    def stop(self, wait: Duration = "2m") -> None:
        """Releases its lease, deletes the object, and waits until the provider says that the instance is gone. Safe to repeat.

        Raises:
            TorchRemoteError: it is not gone after `wait`; the control plane goes on ending it.
        """
        if self._lease is not None:
            self._lease.release()
            self._lease = None
        if not self._api.delete("remotemachines", self.id):
            return
        seconds = _duration.seconds(wait, "wait")
        if not self._api.follow("remotemachines", self.id, lambda thing: thing is None, seconds):
            fix = f"see `kubectl describe machine {self.id}`"
            raise TorchRemoteError(
                f"machine {self.id} is not gone after {seconds:g} s", fix=fix, reason="MachineTimeout"
            )

    def is_running(self) -> bool:
        """Whether the control plane sees it Ready, and not on its way out."""
        thing = self._api.get("remotemachines", self.id)
        return thing is not None and thing.get("status", {}).get("phase") == "Ready"

    def lease(self, duration: Duration | None = None) -> Lease:
        """The lease this process holds on it; made at first use."""
        if self._lease is None or not self._lease.active:
            from ._leases import lease

            self._lease = lease(self.gpu_type, machine=self, duration=duration, namespace=self._api.namespace)
        return self._lease

    def device(self) -> torch.device:
        """The torch device of its lease; the first call leases it."""
        return self.lease().device

    def __enter__(self) -> RemoteMachine:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteMachine) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"RemoteMachine({self.id!r})"

    def _check_provider(self) -> None:
        names = [provider["metadata"]["name"] for provider in self._api.providers()]
        if names and self.provider not in names:
            raise Unsupported(
                f"the control plane at {self._api.control.server} has no Provider {self.provider!r}",
                f"it has {', '.join(names)}",
                f"have its owner apply a Provider of that name, or make a machine of {names[0]!r}",
                reason="NoProvider",
            )


class DeviceRegistry:
    """The machines this process knows, by id and by index (the order in which they were made)."""

    def __init__(self) -> None:
        self._machines: dict[str, RemoteMachine] = {}
        self._lock = threading.Lock()

    def register(self, machine: RemoteMachine) -> int:
        """Adds a machine; returns its index. Safe to repeat."""
        with self._lock:
            self._machines.setdefault(machine.id, machine)
            return list(self._machines).index(machine.id)

    def get_device_by_id(self, machine_id: str) -> RemoteMachine | None:
        """The machine of that id."""
        return self._machines.get(machine_id)

    def get_device_by_index(self, index: int) -> RemoteMachine | None:
        """The machine of that index."""
        known = list(self._machines.values())
        return known[index] if 0 <= index < len(known) else None

    def __len__(self) -> int:
        return len(self._machines)

    def __iter__(self) -> Iterator[RemoteMachine]:
        return iter(list(self._machines.values()))


registry = DeviceRegistry()


def create_modal_machine(
    gpu: str | GPUType,
    *,
    timeout: Duration = "1h",
    idle_timeout: Duration = "15m",
    namespace: str | None = None,
    quiet: bool = False,
) -> RemoteMachine:
    """Applies a RemoteMachine of the Provider `modal` as the user, and waits until it is Ready; the first `.device()` or `.to(machine)` leases it.

    Raises:
        ValueError: no such GPU type.
        Unsupported: the control plane has no Provider `modal`.
    """
    machine = RemoteMachine(gpu, BackendProvider.MODAL, timeout=timeout, idle_timeout=idle_timeout, namespace=namespace)
    return machine.start(quiet=quiet)


def patch_to() -> None:
    """Lets `Tensor.to` and `Module.to` take a RemoteMachine where they take a device."""
    for owner in (torch.Tensor, torch.nn.Module):
        _patch_to(owner)


def _patch_to(owner: type) -> None:
    original = owner.to  # type: ignore[attr-defined]

    def to(self: object, *args: object, **kwargs: object) -> object:
        if args and isinstance(args[0], RemoteMachine):
            args = (args[0].device(), *args[1:])
        elif isinstance(kwargs.get("device"), RemoteMachine):
            kwargs = {**kwargs, "device": kwargs["device"].device()}  # type: ignore[attr-defined]
        return original(self, *args, **kwargs)

    to.__doc__, to.__name__, to.__qualname__ = original.__doc__, original.__name__, original.__qualname__
    owner.to = to  # type: ignore[attr-defined]
