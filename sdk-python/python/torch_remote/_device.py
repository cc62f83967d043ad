"""Registers the device `remote` with PyTorch, once, at import."""

from __future__ import annotations

import sys
import warnings

import torch
from torch.utils import backend_registration

from . import _C, _machines, _printing, errors

__all__ = ["register"]


def register() -> None:
    """Names the PrivateUse1 backend, registers its kernels, and makes it the module `torch.remote`."""
    backend_registration.rename_privateuse1_backend("remote")
    _C.register(errors.RemoteLost, errors.NoLease)
    from . import remote

    torch._register_device_module("remote", remote)  # type: ignore[no-untyped-call]
    sys.modules["torch.remote"] = remote
    backend_registration.generate_methods_for_privateuse1_backend(
        for_tensor=True, for_module=True, for_packed_sequence=True, for_storage=True
    )
    _printing.install()
    _machines.patch_to()
    _C.on_notice(_notice)


def _notice(device: int, reason: str, message: str) -> None:
    """An agent's notice (idle, nearly over, to be revoked) becomes a warning where the user looks."""
    warnings.warn(f"remote:{device}: {message} ({reason})", RuntimeWarning, stacklevel=2)
