"""The native core. Calls marked BLOCKING release the GIL and see Ctrl-C."""

from collections.abc import Callable
from typing import final

import torch

__all__ = [
    "ControlPlane",
    "Renewal",
    "Session",
    "Trace",
    "Vigil",
    "_cut",
    "_time_calls",
    "close_session",
    "current_device",
    "default_generator",
    "device_count",
    "device_state",
    "forked",
    "label",
    "leased_devices",
    "misses",
    "on_notice",
    "open_session",
    "register",
    "reset_counters",
    "reset_peak",
    "restore_device",
    "set_device",
    "set_launch_blocking",
    "stats",
    "synchronize",
]

@final
class ControlPlane:
    """The user's control plane; see src/control.rs."""
    def __new__(cls, namespace: str | None = None) -> ControlPlane: ...
    @property
    def server(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    def request(
        self,
        method: str,
        path: str,
        body: str | None = None,
        *,
        seconds: float = 30.0,
        traceparent: str | None = None,
    ) -> str: ...
    def follow(
        self, collection: str, name: str, seen: Callable[[str], bool], *, seconds: float | None = None
    ) -> bool: ...
    def keep_renewing(self, path: str, seconds: float) -> Renewal: ...
    def keep_vigil(self, collection: str, name: str, uid: str, sessions: list[Session]) -> Vigil: ...

@final
class Session:
    """The session of a lease with one executor: that very one, whatever stands behind its index later. Opening it is BLOCKING."""
    def __new__(
        cls,
        endpoints: list[dict[str, str]],
        token: str,
        attach: bool,
        uid: str,
        lease: str,
        *,
        reconnect_window: float | None = None,
        open_timeout: float | None = None,
    ) -> Session: ...
    @property
    def index(self) -> int: ...
    def state(self) -> tuple[str, str, str]:
        """("Open" | "Reconnecting" | "Ended", reason, message)."""

    def stats(self) -> dict[str, int]: ...
    def close(self, goodbye: bool) -> None:
        """Ends it; `goodbye` tells the executor that the lease is over. Safe to repeat. BLOCKING, 3 s at most."""

    def lose(self, reason: str, message: str) -> None:
        """Ends it without a word to the executor, for this reason."""

@final
class Renewal:
    """A lease that is renewed in the background."""
    def stop(self) -> None: ...

@final
class Vigil:
    """A lease whose end is watched for in the background."""
    def stop(self) -> None: ...

@final
class Trace:
    """The span of a lease call."""
    def __new__(cls, lease: str) -> Trace: ...
    @property
    def traceparent(self) -> str: ...
    def end(self) -> None: ...

def register(remote_lost: type[BaseException], no_lease: type[BaseException]) -> None:
    """Registers the device's kernels, allocator, guard and hooks with PyTorch. Once."""

def open_session(
    endpoints: list[dict[str, str]],
    token: str,
    attach: bool,
    uid: str,
    lease: str,
    *,
    reconnect_window: float | None = None,
    open_timeout: float | None = None,
) -> int:
    """Opens a session as `Session` does, for code that knows devices by their index alone. BLOCKING."""

def close_session(device: int, goodbye: bool) -> None:
    """Ends whatever session stands behind the index now. Safe to repeat. BLOCKING, 3 s at most."""

def device_state(device: int) -> tuple[str, str, str]:
    """("Open" | "Reconnecting" | "Ended", reason, message)."""

def stats(device: int) -> dict[str, int]:
    """Counts of the session. Raises NoLease."""

def reset_peak(device: int) -> None: ...
def misses() -> dict[str, tuple[int, int, int]]:
    """{operator: (misses, Python metas, calls that waited)} since the last reset."""

def reset_counters() -> None: ...
def on_notice(callback: Callable[[int, str, str], None]) -> None:
    """`callback(device, reason, message)` is called from another thread for each notice of an agent."""

def label(tensor: torch.Tensor, name: str) -> None: ...
def device_count() -> int: ...
def current_device() -> int: ...
def set_device(device: int) -> int:
    """Makes a leased device the one this thread means; returns what it had set before, -1 for none."""

def restore_device(device: int) -> int:
    """Puts back what `set_device` returned, leased or not."""

def leased_devices() -> list[int]: ...
def default_generator(device: int) -> torch.Generator: ...
def synchronize(device: int) -> None:
    """BLOCKING."""

def set_launch_blocking(on: bool) -> None: ...
def forked() -> bool:
    """Whether this process was made by fork from one with leases."""

def _cut(device: int, after_bytes: int = 0) -> None:
    """Tests only: the session's connection breaks after so many bytes more."""

def _time_calls(calls: int) -> float:
    """Benchmarks only: nanoseconds that issuing one operator costs in Rust."""
