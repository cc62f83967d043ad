"""`torch.remote`: what `torch.cuda` is for CUDA, for the devices that leases stand behind.

Importing it does no IO. `device_count` counts leases; an index without one raises `NoLease` when it is used.
"""

from __future__ import annotations

import torch

from .. import _C, _process
from ._amp import get_amp_supported_dtype, is_bf16_supported
from ._device import (
    DeviceProperties,
    current_device,
    device,
    device_count,
    device_of,
    get_device_capability,
    get_device_name,
    get_device_properties,
    is_available,
    set_device,
    synchronize,
)
from ._memory import (
    empty_cache,
    max_memory_allocated,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    memory_stats,
    reset_peak_memory_stats,
)
from ._random import (
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)
from ._streams import Event, Stream, StreamContext, current_stream, default_stream, set_stream, stream

__all__ = [
    "DeviceProperties",
    "Event",
    "Stream",
    "StreamContext",
    "current_device",
    "current_stream",
    "default_generators",
    "default_stream",
    "device",
    "device_count",
    "device_of",
    "empty_cache",
    "get_amp_supported_dtype",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "get_rng_state_all",
    "init",
    "initial_seed",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_device",
    "set_rng_state",
    "set_rng_state_all",
    "set_stream",
    "stream",
    "synchronize",
]


def is_initialized() -> bool:
    """Whether a lease is held and this is no forked child."""
    return device_count() > 0 and not _is_in_bad_fork()


# torch.utils.checkpoint reads it: without it a recomputed segment would draw other dropout masks than its forward did.
_initialized = True


def init() -> None:
    """Leases what TORCH_REMOTE_GPU names when nothing is held."""
    _lazy_init()


def _lazy_init() -> None:
    """PyTorch calls it at the first use of the device by name."""
    from .._leases import ensure_lease

    _process.refuse_fork()
    ensure_lease()


def _is_in_bad_fork() -> bool:
    return _process.forked()


class _Generators:
    """`default_generators[i]`, as torch.cuda has it."""

    def __getitem__(self, index: int) -> torch.Generator:
        return _C.default_generator(index)

    def __len__(self) -> int:
        return device_count()


default_generators = _Generators()
