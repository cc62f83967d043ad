"""Memory of a leased device, as this session's storages use it."""

from __future__ import annotations

from torch.types import Device

from .. import _C
from ._device import index_of

__all__ = [
    "empty_cache",
    "max_memory_allocated",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_peak_memory_stats",
]


def memory_allocated(device: Device = None) -> int:
    """Bytes of the live storages of this session."""
    return memory_stats(device)["live_bytes"]


def max_memory_allocated(device: Device = None) -> int:
    """Most bytes alive at once since the start or the last reset."""
    return memory_stats(device)["peak_bytes"]


def memory_reserved(device: Device = None) -> int:
    """The same as allocated: the executor's cache is its own affair."""
    return memory_allocated(device)


def reset_peak_memory_stats(device: Device = None) -> None:
    """Starts the count of max_memory_allocated anew."""
    _C.reset_peak(index_of(device))


def mem_get_info(device: Device = None) -> tuple[int, int]:
    """(free, total) bytes of the lease's memory; (0, 0) where the executor named no limit."""
    stats = memory_stats(device)
    total = stats["memory_bytes"]
    return (max(total - stats["live_bytes"], 0), total)


def memory_stats(device: Device = None) -> dict[str, int]:
    """All counts of the session behind a device."""
    return _C.stats(index_of(device))


def empty_cache() -> None:
    """Nothing: no memory is kept on this side, and the executor's cache serves one lease."""
