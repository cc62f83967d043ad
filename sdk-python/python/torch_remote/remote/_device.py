"""Which device is meant."""

from __future__ import annotations

from types import TracebackType
from typing import NamedTuple

import torch
from torch.types import Device

from .. import _C

__all__ = [
    "DeviceProperties",
    "current_device",
    "device",
    "device_count",
    "device_of",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "index_of",
    "is_available",
    "set_device",
    "synchronize",
]


def is_available() -> bool:
    """Whether this process holds a lease."""
    return device_count() > 0


def device_count() -> int:
    """Devices with a live lease."""
    return _C.device_count()


def current_device() -> int:
    """Index that `device="remote"` means: the one set, or the first that is leased."""
    return _C.current_device()


def set_device(device: Device) -> None:
    """Makes it the device that `device="remote"` means in this thread, for as long as its lease lives.

    Raises:
        NoLease, RemoteLost: no lease stands behind it, or none any more.
    """
    _set(index_of(device))


def _set(index: int) -> int:
    """Makes it this thread's device, and leases what TORCH_REMOTE_GPU names where no lease was ever behind it; returns what was set before."""
    if _C.device_state(index)[1] == "NoLease":
        from .._leases import ensure_lease

        ensure_lease()
    return _C.set_device(index)


def index_of(device: Device) -> int:
    """Index of a device given as None (the current one), an index, a text or a torch.device.

    Raises:
        ValueError: it is no remote device.
    """
    if device is None:
        return current_device()
    if isinstance(device, int):
        return device
    named = torch.device(device)
    if named.type != "remote":
        raise ValueError(f"expected a remote device, got {named}")
    return current_device() if named.index is None else named.index


class device:
    """Context manager: the device that `device="remote"` means inside. None or a negative index changes nothing."""

    def __init__(self, device: Device) -> None:
        self.idx = -1 if device is None else index_of(device)
        self.prev_idx = -1

    def __enter__(self) -> None:
        if self.idx >= 0:
            self.prev_idx = _set(self.idx)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.idx >= 0:
            _C.restore_device(self.prev_idx)


class device_of(device):
    """Context manager: the tensor's device; changes nothing for tensors elsewhere."""

    def __init__(self, tensor: torch.Tensor) -> None:
        super().__init__(tensor.device if tensor.device.type == "remote" else None)


class DeviceProperties(NamedTuple):
    """What is known of a device."""

    name: str
    machine: str
    total_memory: int


def get_device_properties(device: Device = None) -> DeviceProperties:
    """Type, machine and memory (bytes, 0 = unknown) of a leased device."""
    from .._leases import held, no_lease

    index = index_of(device)
    for lease in held():
        if any(one.index == index for one in lease.devices):
            return DeviceProperties(lease.gpu, lease.machine, _C.stats(index).get("memory_bytes", 0))
    raise no_lease(f"remote:{index}")


def get_device_name(device: Device = None) -> str:
    """Type of the GPU."""
    return get_device_properties(device).name


def get_device_capability(device: Device = None) -> tuple[int, int]:
    """Always (0, 0): kernels are chosen on the executor, not here."""
    index_of(device)
    return (0, 0)


def synchronize(device: Device = None) -> None:
    """Waits until all that was issued has run; raises the first failure that was not raised yet."""
    _C.synchronize(index_of(device))
