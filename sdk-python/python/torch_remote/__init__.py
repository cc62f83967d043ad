"""A device called `remote` for PyTorch: every operator on it runs on a GPU that the team shares.

    import torch, torch_remote

    lease = torch_remote.lease(gpu="A100-80GB", duration="2h")
    x = torch.randn(4096, 4096, device=lease.device)

Importing registers the device with PyTorch and does nothing else: no files are read, no connection is made.
"""

from __future__ import annotations

from ._versions import __version__, check_torch

check_torch()

from . import errors  # noqa: E402
from ._device import register as _register  # noqa: E402

_register()

from ._leases import Cost, Lease, lease  # noqa: E402
from ._machines import BackendProvider, DeviceRegistry, GPUType, RemoteMachine, create_modal_machine  # noqa: E402
from .errors import (  # noqa: E402
    Conflict,
    InvalidRequest,
    LeaseEnded,
    LeaseTimeout,
    NoControlPlane,
    NoLease,
    RemoteLost,
    TorchRemoteError,
    TorchVersionMismatch,
    Unauthorized,
    Unsatisfiable,
    Unsupported,
)

__all__ = [
    "BackendProvider",
    "Conflict",
    "Cost",
    "DeviceRegistry",
    "GPUType",
    "InvalidRequest",
    "Lease",
    "LeaseEnded",
    "LeaseTimeout",
    "NoControlPlane",
    "NoLease",
    "RemoteLost",
    "RemoteMachine",
    "TorchRemoteError",
    "TorchVersionMismatch",
    "Unauthorized",
    "Unsatisfiable",
    "Unsupported",
    "__version__",
    "create_modal_machine",
    "errors",
    "lease",
]
