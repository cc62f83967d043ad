"""Every error torch_remote raises: what failed, why, and what to do, with a stable reason.

The native core raises these too: it asks `from_reason` for the class that belongs to a reason of the API server or the agent.
"""

from __future__ import annotations

__all__ = [
    "Conflict",
    "InvalidRequest",
    "LeaseEnded",
    "LeaseTimeout",
    "NoControlPlane",
    "NoLease",
    "RemoteLost",
    "TorchRemoteError",
    "TorchVersionMismatch",
    "Unauthorized",
    "Unsatisfiable",
    "Unsupported",
    "from_reason",
]


class TorchRemoteError(RuntimeError):
    """Base of all errors of this package. `reason` is stable and CamelCase; `what`, `why` and `fix` are the parts of the text."""

    reason = "TorchRemoteError"

    def __init__(self, what: str, why: str = "", fix: str = "", reason: str | None = None) -> None:
        self.what, self.why, self.fix = what, why, fix
        if reason is not None:
            self.reason = reason
        text = what if not why else f"{what}: {why}"
        super().__init__(text if not fix else f"{text}. {fix[0].upper()}{fix[1:]}.")


class NoLease(TorchRemoteError):
    """A device was used that no lease stands behind."""

    reason = "NoLease"


class RemoteLost(TorchRemoteError):
    """The lease behind a tensor ended, or its executor died: its values are gone."""

    reason = "RemoteLost"


class LeaseEnded(TorchRemoteError):
    """The lease ended while it was waited for, or is over where one is needed."""

    reason = "LeaseEnded"


class LeaseTimeout(TorchRemoteError):
    """The lease was not bound within `wait_timeout`."""

    reason = "LeaseTimeout"


class Unsatisfiable(TorchRemoteError):
    """Nothing that exists, or may be made, can ever fit the lease."""

    reason = "Unsatisfiable"


class NoControlPlane(TorchRemoteError):
    """No control plane is configured, or none answers at its address."""

    reason = "NoControlPlane"


class Unauthorized(TorchRemoteError):
    """The control plane does not know the user, or the user may not do this."""

    reason = "Unauthorized"


class Conflict(TorchRemoteError):
    """The name is taken by a lease that differs from the one asked for, or that someone else holds."""

    reason = "Conflict"


class InvalidRequest(TorchRemoteError, ValueError):
    """The control plane refuses a value; the text says which, and what would do."""

    reason = "Invalid"


class TorchVersionMismatch(TorchRemoteError, ImportError):
    """torch is missing, or of another minor version than this package or the agent was built for."""

    reason = "TorchVersionMismatch"


class Unsupported(TorchRemoteError):
    """The control plane lacks what was asked for."""

    reason = "Unsupported"


_CLASSES: dict[str, type[TorchRemoteError]] = {
    "AlreadyExists": Conflict,
    "Conflict": Conflict,
    "BadRequest": InvalidRequest,
    "Forbidden": Unauthorized,
    "Invalid": InvalidRequest,
    "NoControlPlane": NoControlPlane,
    "NoLease": NoLease,
    "RemoteLost": RemoteLost,
    "TorchVersionMismatch": TorchVersionMismatch,
    "Unauthorized": Unauthorized,
    "Unsatisfiable": Unsatisfiable,
}


def from_reason(reason: str, what: str, why: str = "", fix: str = "") -> TorchRemoteError:
    """The exception for a reason of the API server, the agent or the native core; unknown reasons keep their name on the base class."""
    return _CLASSES.get(reason, TorchRemoteError)(what, why, fix, reason=reason)
