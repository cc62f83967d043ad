"""Random numbers: the client owns (seed, count) of each device, so no function here asks the executor."""

from __future__ import annotations

import torch
from torch.types import Device

from .. import _C
from ._device import index_of

__all__ = [
    "get_rng_state",
    "get_rng_state_all",
    "initial_seed",
    "manual_seed",
    "manual_seed_all",
    "seed",
    "seed_all",
    "set_rng_state",
    "set_rng_state_all",
]

_MOST = 16


def _generator(device: Device = None) -> torch.Generator:
    return _C.default_generator(index_of(device))


def manual_seed(seed: int) -> None:
    """Seeds the current device."""
    _generator().manual_seed(int(seed))


def manual_seed_all(seed: int) -> None:
    """Seeds every device, those not yet leased too."""
    for index in range(_MOST):
        _C.default_generator(index).manual_seed(int(seed))


def seed() -> None:
    """Seeds the current device with a random number."""
    _generator().seed()


def seed_all() -> None:
    """Seeds every device with one random number."""
    manual_seed_all(_generator().seed())


def initial_seed() -> int:
    """Seed of the current device."""
    return _generator().initial_seed()


def get_rng_state(device: Device = "remote") -> torch.Tensor:
    """State of a device's generator, a CPU tensor of bytes."""
    return _generator(device).get_state()


def get_rng_state_all() -> list[torch.Tensor]:
    """States of all leased devices, in the order of their indexes."""
    return [get_rng_state(index) for index in _C.leased_devices()]


def set_rng_state(new_state: torch.Tensor, device: Device = "remote") -> None:
    """Puts a device's generator into a state."""
    _generator(device).set_state(new_state)


def set_rng_state_all(new_states: list[torch.Tensor]) -> None:
    """Puts each leased device's generator into its state, in the order of their indexes.

    Raises:
        ValueError: there are more or fewer states than leased devices.
    """
    leased = _C.leased_devices()
    if len(leased) != len(new_states):
        raise ValueError(
            f"set_rng_state_all: {len(new_states)} states for {len(leased)} leased devices; set_rng_state(state, device) sets one"
        )
    for index, state in zip(leased, new_states, strict=True):
        set_rng_state(state, index)
