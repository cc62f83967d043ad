"""Registers the device `remote` with PyTorch, once, at import."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from typing import Any

import torch
from torch.utils import backend_registration

from . import _C, _machines, _printing, errors

__all__ = ["notice", "register"]


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
    _refuse_dlpack()
    # As CUDA_LAUNCH_BLOCKING: each operator waits, so that its failure is raised on its own line.
    _C.set_launch_blocking(os.environ.get("TORCH_REMOTE_LAUNCH_BLOCKING", "0") not in ("", "0"))


def _refuse_dlpack() -> None:
    """DLPack hands out an address; a remote tensor's is nowhere in this process."""
    original = torch.Tensor.__dlpack__

    @functools.wraps(original)
    def __dlpack__(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.device.type == "remote":
            raise BufferError(
                f"a tensor on {self.device} has no memory in this process to share: move it with .cpu() first"
            )
        return original(self, *args, **kwargs)

    torch.Tensor.__dlpack__ = __dlpack__  # type: ignore[method-assign]


def notice(device: int, reason: str, message: str) -> None:
    """An agent's notice (idle, nearly over, to be revoked) becomes a warning where the user looks."""
    warnings.warn(f"remote:{device}: {message} ({reason})", RuntimeWarning, stacklevel=2)
