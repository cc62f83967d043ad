"""The leases that this process holds: what each one tells and gives back.

Owns the table of leases. Leaves what is asked for to `_request`, how it is had to `_acquisition`, what happens at the end of the process to `_process`, and
the session itself to the native core. Invariant: one live lease per selector; a lease that is over controls nothing that another one holds.
"""

from __future__ import annotations

import datetime
import functools
import threading
import time
from collections.abc import Sequence
from decimal import Decimal
from types import TracebackType
from typing import NamedTuple

import torch

from . import _C, _device, _duration, _process, _progress
from ._acquisition import Acquired, acquire
from ._api import Api
from ._duration import Duration
from ._identity import Identity, identify
from ._machines import GPUType, RemoteMachine
from ._request import Request, checked, named_gpus
from .errors import LeaseEnded, NoControlPlane, NoLease

__all__ = ["Cost", "Lease", "ensure_lease", "held", "lease"]

# Of the process and not of a session, or no count.
_NOT_SUMMED = frozenset(
    (
        "cache_entries",
        "cache_hits",
        "cache_misses",
        "calls_now",
        "python_metas",
        "reads",
        "round_trip_us",
        "uncached",
        "writes",
    )
)


class Cost(NamedTuple):
    """What a lease has cost so far, and per hour."""

    amount: Decimal
    per_hour: Decimal
    currency: str

    def __str__(self) -> str:
        return f"{self.amount:.4f} {self.currency} ({self.per_hour} {self.currency}/h)"


class Lease:
    """GPUs that are this process's until the lease ends. Made by `torch_remote.lease`; a context manager that releases."""

    def __init__(self, api: Api, acquired: Acquired, request: Request, identity: Identity) -> None:
        self._api, self._thing, self._request, self._identity = api, acquired.thing, request, identity
        # The sessions themselves: their indexes go to other leases when this one is over.
        self._sessions = acquired.sessions
        self._opened = _boot_seconds()
        self._released = False
        self._lock = threading.Lock()
        self._vigil = api.keep_vigil(self.name, self._thing["metadata"]["uid"], self._sessions)

    @property
    def name(self) -> str:
        """Name of the DeviceLease."""
        return str(self._thing["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Namespace of the DeviceLease."""
        return str(self._thing["metadata"]["namespace"])

    @property
    def device(self) -> torch.device:
        """The first (mostly the only) device."""
        return torch.device("remote", self._sessions[0].index)

    @property
    def devices(self) -> list[torch.device]:
        """All devices, one per GPU."""
        return [torch.device("remote", session.index) for session in self._sessions]

    @property
    def machine(self) -> str:
        """namespace/name of the RemoteMachine."""
        return str(self._thing["status"]["devices"][0]["machine"])

    @property
    def gpu(self) -> str:
        """Type of its GPUs."""
        return str(self._thing["status"]["devices"][0].get("gpu") or self._request.gpu[0])

    @property
    def active(self) -> bool:
        """Whether its tensors can be used."""
        return not self._released and all(session.state()[0] != "Ended" for session in self._sessions)

    @property
    def remaining(self) -> datetime.timedelta:
        """How long until its duration is over."""
        if not self.active:
            return datetime.timedelta(0)
        end = self._thing.get("status", {}).get("expiresAt")
        if end is not None:
            left = datetime.datetime.fromisoformat(end.replace("Z", "+00:00")) - datetime.datetime.now(
                datetime.timezone.utc
            )
        else:
            total = _duration.seconds(self._thing["spec"]["duration"], "duration")
            left = datetime.timedelta(seconds=total - (_boot_seconds() - self._opened))
        return max(left, datetime.timedelta(0))

    def stats(self) -> dict[str, int]:
        """Counts of the lease since it opened: ops, syncs, batches, bytes_sent, bytes_received, reconnects; live_storages, live_bytes and peak_bytes
        of what it holds, memory_bytes of what it may, and the last round_trip_us.

        What is counted where operators are issued is of the whole process, all its leases together, since import or the last reset: cache_hits,
        cache_misses, cache_entries, python_metas, calls_now, uncached, reads and writes.
        """
        total: dict[str, int] = {}
        for session in self._sessions:
            for name, value in session.stats().items():
                total[name] = max(total.get(name, 0), value) if name in _NOT_SUMMED else total.get(name, 0) + value
        return total

    def cost(self) -> Cost | None:
        """What it has cost so far by its machine's price; None where the machine has no price."""
        namespace, _, name = self.machine.partition("/")
        machine = self._api.get("remotemachines", name, namespace) or {}
        price = machine.get("status", {}).get("pricePerHour")
        if price is None:
            return None
        spec = machine["spec"]
        provider = next((p for p in self._api.providers() if p["metadata"]["name"] == spec["provider"]), {})
        slots = spec["gpu"].get("count", 1) * spec.get("slotsPerGPU", 1)
        per_hour = Decimal(str(price)) * len(self._thing["status"]["devices"]) / slots
        hours = Decimal(_boot_seconds() - self._opened) / 3600
        return Cost(per_hour * hours, per_hour, provider.get("spec", {}).get("currency", "USD"))

    def keep(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        """Names the tensor's storage in `kubectl get tensors`. Returns the tensor.

        Raises:
            LeaseEnded: the lease is over.
            ValueError: the tensor is on no device of this lease.
        """
        if not self.active:
            raise LeaseEnded(
                f"keep({name!r}): lease {self.name} is over", "its tensors are gone", "call torch_remote.lease again"
            )
        if tensor.device not in self.devices:
            raise ValueError(
                f"keep({name!r}): the tensor is on {tensor.device}, and this lease has {', '.join(map(str, self.devices))}"
            )
        _C.label(tensor, name)
        return tensor

    def release(self) -> None:
        """Ends the lease: its tensors raise RemoteLost from now on. Safe to repeat."""
        self._end(goodbye=True, seconds=30.0)

    def _end(self, goodbye: bool, seconds: float) -> None:
        if _process.forked():
            return  # the lease is the parent's
        with self._lock:
            if self._released:
                return
            over = not self.active
            self._released = True
        with _table_lock:
            if _table.get(self._request.selector) is self:
                del _table[self._request.selector]
            asking = _asking.setdefault(self._request.selector, threading.Lock())
        self._vigil.stop()
        for session in self._sessions:
            session.close(goodbye)
        if not goodbye:
            return
        # Whoever asks again for a lease whose sessions are over may find it bound still, and then has it: not while it is given back.
        waited = over and asking.acquire(timeout=seconds)
        try:
            self._give_back(seconds)
        finally:
            if waited:
                asking.release()

    def _give_back(self, seconds: float) -> None:
        uid = self._thing["metadata"]["uid"]
        with _table_lock:
            if any(other._thing["metadata"]["uid"] == uid for other in _table.values()):
                return  # another object has it now
        try:
            self._api.delete("deviceleases", self.name, uid, seconds)
        except NoControlPlane as error:
            _progress.note(
                f"lease {self.name} is given back to its machine; the control plane will learn it from there ({error.what})"
            )

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        state = f"{self.gpu} on {self.machine}, {_short(self.remaining)} left" if self.active else "over"
        return f"<Lease {self.namespace}/{self.name} {self.device}: {state}>"


_table: dict[str, Lease] = {}
_table_lock = threading.RLock()
_asking: dict[str, threading.Lock] = {}


def held() -> list[Lease]:
    """The leases this process holds."""
    with _table_lock:
        return [lease for lease in _table.values() if lease.active]


def no_lease(device: str) -> NoLease:
    """The error of a device that no lease stands behind."""
    return NoLease(
        f"no lease stands behind device {device}",
        fix="call torch_remote.lease(gpu=...), or set TORCH_REMOTE_GPU to lease at first use",
    )


def ensure_lease() -> None:
    """Leases what TORCH_REMOTE_GPU names when nothing is held.

    Raises:
        NoLease: nothing is held and the variable is not set.
    """
    if held():
        return
    gpu = named_gpus()
    if not gpu:
        raise no_lease("remote")
    lease(gpu=gpu)


def lease(
    gpu: str | GPUType | Sequence[str | GPUType] | None = None,
    *,
    duration: Duration | None = None,
    name: str | None = None,
    count: int = 1,
    mode: str = "Exclusive",
    memory: str | None = None,
    machine: str | RemoteMachine | None = None,
    pool: str | None = None,
    idle_timeout: Duration | None = None,
    wait_timeout: Duration | None = None,
    reconnect_window: Duration | None = None,
    priority: int | None = None,
    namespace: str | None = None,
    quiet: bool = False,
) -> Lease:
    """Leases GPUs and opens them as devices of this process; waits for them, with price and progress.

    Called again with the same selector (gpu, count, mode, memory, machine, pool, name, namespace) in the same process it returns the lease held
    already. In a notebook the notebook is the identity: a restarted kernel takes the lease over, and so does any new process with the same `name`.

    Args:
        gpu: A type ("A100-80GB", "CPU"), or several in order of preference. TORCH_REMOTE_GPU when neither this nor machine nor pool is given.
        duration: The lease ends so long after it opened. 8 h by default.
        name: Identity of the lease across processes; the lease then stays for `reconnect_window` after the process ends.
        count: GPUs, on one machine.
        mode: "Exclusive" (whole GPUs) or "Shared" (a share of one, of `memory`).
        memory: Memory of a share, such as "8Gi".
        machine: Only this RemoteMachine ("name" or "namespace/name").
        pool: Only machines of this MachinePool.
        idle_timeout: It ends when no operator ran for so long. 1 h by default.
        wait_timeout: Give up waiting after so long. Waits as long as the process lives by default.
        reconnect_window: A silent client (a sleeping laptop) keeps it so long. 30 min by default.
        priority: Higher goes first.
        namespace: The team. The kubeconfig's by default.
        quiet: Print nothing.

    Raises:
        ValueError: an argument that no control plane would take.
        Unsatisfiable: nothing can ever fit.
        LeaseTimeout: not bound within `wait_timeout`.
        NoControlPlane, Unauthorized, Conflict: see their texts.
    """
    request = checked(gpu, count, mode, memory, machine, pool)
    for field, given in (
        ("duration", duration),
        ("idleTimeout", idle_timeout),
        ("waitTimeout", wait_timeout),
        ("reconnectWindow", reconnect_window),
    ):
        if given is not None:
            request.times[field] = _duration.text(given, field)
    request.priority, request.name = priority, name
    wait = None if wait_timeout is None else _duration.seconds(wait_timeout, "wait_timeout")
    _process.refuse_fork()
    identity = identify(name, request.selector)
    api = Api(namespace)
    request.namespace = api.namespace
    with _table_lock:
        asking = _asking.setdefault(request.selector, threading.Lock())
    with asking:
        with _table_lock:
            present = _table.get(request.selector)
        if present is not None and present.active:
            if not quiet:
                left = _short(present.remaining)
                _progress.note(
                    f"this process holds lease {present.name} for {request} already ({left} left); it is the one returned"
                )
            return present
        _listen()
        progress = _progress.Progress(quiet)
        acquired = acquire(api, request, identity, wait, progress)
        made = Lease(api, acquired, request, identity)
        with _table_lock:
            _table[request.selector] = made
        _process.watch_end()
        how = "taken over" if acquired.taken_over else "leased"
        progress.done(
            f"{how} {made.gpu} on machine {made.machine} for {_short(made.remaining)} as {made.device} (lease {made.name})"
        )
        return made


@functools.cache
def _listen() -> None:
    """Starts the thread that brings agents' notices; not at import, which starts nothing."""
    _C.on_notice(_device.notice)


def _boot_seconds() -> float:
    """A clock that goes on while the laptop sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _short(span: datetime.timedelta) -> str:
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{seconds} s"
