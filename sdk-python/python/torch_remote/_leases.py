"""Leases: asking for one, waiting for it, opening it as a device, and giving it back.

Owns the table of the leases that this process holds. Leaves the calls to `_api`, the name to `_identity`, what happens at the end of the process to
`_process`, and the session itself to the native core. Invariant: one live lease per selector.
"""

from __future__ import annotations

import datetime
import functools
import os
import re
import stat
import threading
import time
from collections.abc import Sequence
from decimal import Decimal
from types import TracebackType
from typing import NamedTuple

import torch

from . import _C, _device, _duration, _process, _progress
from ._api import API_VERSION, Api, Json, condition
from ._duration import Duration
from ._identity import Identity, identify
from ._machines import GPUType, RemoteMachine
from .errors import (
    Conflict,
    LeaseEnded,
    LeaseTimeout,
    NoControlPlane,
    NoLease,
    RemoteLost,
    TorchRemoteError,
    Unsatisfiable,
    from_reason,
)

__all__ = ["Cost", "Lease", "current", "ensure_lease", "held", "lease"]

_GONE_SECONDS = 30.0
# Annotation: how the control plane learns that the process which waits is alive.
_WAITER = "torchremote.dev/waiter"
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


class Request:
    """A checked call of `lease`: what is asked for, apart from who asks."""

    def __init__(
        self, gpu: Sequence[str], count: int, mode: str, memory: str | None, machine: str | None, pool: str | None
    ) -> None:
        self.gpu, self.count, self.mode, self.memory, self.machine, self.pool = gpu, count, mode, memory, machine, pool
        self.name: str | None = None
        self.times: dict[str, str] = {}
        self.priority: int | None = None

    @property
    def selector(self) -> str:
        """All that says which GPUs are meant: equal selectors mean the same lease."""
        what = "+".join(self.gpu) or "gpu"
        return ",".join(
            [what, str(self.count), self.mode, self.memory or "", self.machine or "", self.pool or "", self.name or ""]
        )

    def __str__(self) -> str:
        what = " or ".join(f"{self.count} x {gpu}" for gpu in self.gpu) or f"{self.count} GPU"
        of = f" of machine {self.machine}" if self.machine else f" of pool {self.pool}" if self.pool else ""
        return what + of

    def manifest(self, identity: Identity) -> Json:
        spec: Json = {"mode": self.mode, "resumable": identity.resumable, **self.times}
        if self.gpu:
            spec["gpu"] = [{"type": gpu, "count": self.count} for gpu in self.gpu]
        if self.memory is not None:
            spec["gpuMemory"] = self.memory
        if self.priority is not None:
            spec["priority"] = self.priority
        for field, value in (("machineRef", self.machine), ("poolRef", self.pool)):
            if value is not None:
                namespace, _, name = value.rpartition("/")
                spec[field] = {"name": name, **({"namespace": namespace} if namespace else {})}
        # Known from the first moment on: without it a process that dies before its first renewal would be waited for.
        metadata = {"name": identity.name, "annotations": {_WAITER: "Renews"}}
        return {"apiVersion": API_VERSION, "kind": "DeviceLease", "metadata": metadata, "spec": spec}


class Lease:
    """GPUs that are this process's until the lease ends. Made by `torch_remote.lease`; a context manager that releases."""

    def __init__(self, api: Api, thing: Json, devices: list[int], request: Request, identity: Identity) -> None:
        self._api, self._thing, self._request, self._identity = api, thing, request, identity
        self._indexes = devices
        self._opened = _boot_seconds()
        self._released = False
        self._lock = threading.Lock()
        self._vigil = api.keep_vigil(self.name, thing["metadata"]["uid"], devices)

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
        return torch.device("remote", self._indexes[0])

    @property
    def devices(self) -> list[torch.device]:
        """All devices, one per GPU."""
        return [torch.device("remote", index) for index in self._indexes]

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
        return not self._released and all(_C.device_state(index)[0] != "Ended" for index in self._indexes)

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
        """Counts since the lease opened: ops, syncs, bytes_sent, bytes_received, cache_misses, live_storages, live_bytes, reconnects and more;
        round_trip_us is the last one measured."""
        total: dict[str, int] = {}
        for index in self._indexes:
            for name, value in _C.stats(index).items():
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
            ValueError: the tensor is on no device of this lease.
        """
        if tensor.device.type != "remote" or tensor.device.index not in self._indexes:
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
            self._released = True
        with _table_lock:
            _table.pop(self._request.selector, None)
        self._vigil.stop()
        for index in self._indexes:
            _C.close_session(index, goodbye)
        if goodbye:
            try:
                self._api.delete("deviceleases", self.name, self._thing["metadata"]["uid"], seconds)
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


def current() -> Lease:
    """The lease behind the current device.

    Raises:
        NoLease: there is none.
    """
    index = _C.current_device()
    for candidate in held():
        if index in candidate._indexes:
            return candidate
    raise no_lease(f"remote:{index}")


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
    gpu = os.environ.get("TORCH_REMOTE_GPU")
    if not gpu:
        raise no_lease("remote")
    lease(gpu=[one.strip() for one in gpu.split(",")])


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

    Called again with the same selector (gpu, count, mode, memory, machine, pool, name) in the same process it returns the lease held already. In a notebook the
    notebook is the identity: a restarted kernel takes the lease over, and so does any new process with the same `name`.

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
    request = _checked(gpu, count, mode, memory, machine, pool)
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
    identity = identify(name, request.selector)
    _process.refuse_fork()
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
        made = _acquire(Api(namespace), request, identity, wait, quiet)
        with _table_lock:
            _table[request.selector] = made
        _process.watch_end()
        return made


@functools.cache
def _listen() -> None:
    """Starts the thread that brings agents' notices; not at import, which starts nothing."""
    _C.on_notice(_device.notice)


def _checked(
    gpu: str | GPUType | Sequence[str | GPUType] | None,
    count: int,
    mode: str,
    memory: str | None,
    machine: str | RemoteMachine | None,
    pool: str | None,
) -> Request:
    types: list[str] = []
    if gpu is None and machine is None and pool is None:
        gpu = os.environ.get("TORCH_REMOTE_GPU", "").split(",") if os.environ.get("TORCH_REMOTE_GPU") else None
        if gpu is None:
            raise ValueError(
                'say which GPU: torch_remote.lease(gpu="A100-80GB"), a machine, a pool, or set TORCH_REMOTE_GPU'
            )
    if gpu is not None:
        given = [gpu] if isinstance(gpu, (str, GPUType)) else list(gpu)
        types = [GPUType.parse(one).value for one in given]
    if not isinstance(count, int) or not 1 <= count <= 16:
        raise ValueError(f"count={count!r} must be a whole number from 1 to 16")
    if mode not in ("Exclusive", "Shared"):
        raise ValueError(f'mode={mode!r} must be "Exclusive" or "Shared"')
    if (mode == "Shared") != (memory is not None):
        raise ValueError('mode="Shared" and memory= go together: memory="8Gi" is the share of the GPU\'s memory')
    named = machine.name if isinstance(machine, RemoteMachine) else machine
    return Request(types, count, mode, memory, named, pool)


def _acquire(api: Api, request: Request, identity: Identity, wait: float | None, quiet: bool) -> Lease:
    progress = _progress.Progress(quiet)
    trace = _C.Trace(identity.name)
    api.traceparent = trace.traceparent
    thing, attach = _create_or_adopt(api, request, identity, progress)
    name = thing["metadata"]["name"]
    renewal = api.keep_renewing(name)
    try:
        bound = _wait_bound(api, name, request, wait, progress)
        made = Lease(api, bound, _open(api, bound, attach), request, identity)
    except BaseException:
        progress.abandon()
        if not attach:
            _give_up(api, thing)
        raise
    finally:
        renewal.stop()
        trace.end()
    how = "taken over" if attach else "leased"
    progress.done(
        f"{how} {made.gpu} on machine {made.machine} for {_short(made.remaining)} as {made.device} (lease {made.name})"
    )
    return made


def _create_or_adopt(api: Api, request: Request, identity: Identity, progress: _progress.Progress) -> tuple[Json, bool]:
    """The lease's object, and whether its session is to be taken over."""
    manifest = request.manifest(identity)
    deadline = time.monotonic() + _GONE_SECONDS
    while True:
        try:
            return api.create("deviceleases", manifest), False
        except Conflict as error:
            if error.reason != "AlreadyExists":
                raise
        present = api.get("deviceleases", identity.name)
        if present is None:
            continue
        phase = present.get("status", {}).get("phase", "Pending")
        ending = "deletionTimestamp" in present["metadata"]
        if not ending and phase not in ("Releasing", "Ended", "Lost", "Failed"):
            _check_same(present, manifest, identity)
            return present, phase == "Bound"
        if not ending:
            api.delete("deviceleases", identity.name, present["metadata"]["uid"])
        progress.show(f"waiting until the last lease of {identity.why} is cleared away")
        gone = api.follow(
            "deviceleases", identity.name, lambda seen: seen is None, max(deadline - time.monotonic(), 0.0)
        )
        if not gone:
            raise TorchRemoteError(
                f"the last lease {identity.name} is not cleared away after {_GONE_SECONDS:.0f} s",
                reason="StillReleasing",
            )


def _check_same(present: Json, manifest: Json, identity: Identity) -> None:
    for field in ("gpu", "mode", "gpuMemory", "machineRef", "poolRef"):
        has, asked = present["spec"].get(field), manifest["spec"].get(field)
        if field == "gpu" and has and asked:
            has = [(one["type"], one.get("count", 1)) for one in has]
            asked = [(one["type"], one.get("count", 1)) for one in asked]
        if has != asked:
            raise Conflict(
                f"lease {identity.name} exists with another {field}",
                f"it has {has}, asked for is {asked}",
                f"release it (`kubectl delete devicelease {identity.name}`) or use another name",
            )


def _wait_bound(api: Api, name: str, request: Request, wait: float | None, progress: _progress.Progress) -> Json:
    latest: Json = {}
    announced = False

    def seen(thing: Json | None) -> bool:
        nonlocal announced
        if thing is None:
            raise LeaseEnded(f"lease {name} was deleted while it was waited for", fix="call torch_remote.lease again")
        latest.update(thing)
        phase: str = thing.get("status", {}).get("phase", "Pending")
        if phase in ("Releasing", "Ended", "Lost", "Failed"):
            raise _ended(thing)
        if phase != "Bound":
            if not announced:
                announced = True
                progress.show(f"asking for {request}{_price(api, request)}")
            progress.show(_waiting_for(thing, phase, request))
        return phase == "Bound"

    if not api.follow("deviceleases", name, seen, wait):
        queue = latest.get("status", {}).get("queue", {})
        why = f"it is number {queue['position']} in the queue ({queue['reason']})" if queue else "no machine was ready"
        raise LeaseTimeout(
            f"lease {name} for {request} was not bound within {wait:g} s",
            why,
            "wait longer, or ask for another GPU type",
        )
    return latest


def _waiting_for(thing: Json, phase: str, request: Request) -> str:
    status = thing.get("status", {})
    queue = status.get("queue")
    if phase == "Launching":
        message = condition(thing, "Bound").get("message", "")
        return f"a machine is launching for {request}" + (f": {message}" if message else "")
    if queue:
        eta = f", expected at {queue['eta']}" if queue.get("eta") else ""
        return f"waiting for {request}: number {queue['position']} in the queue, {queue['reason']}{eta}"
    return f"waiting for {request}: {phase}"


def _price(api: Api, request: Request) -> str:
    prices = [
        f"{price['perHour']} {provider['spec'].get('currency', 'USD')}/h at {provider['metadata']['name']}"
        for provider in api.providers()
        for price in provider["spec"].get("prices", [])
        if price["type"] in request.gpu
    ]
    return f" ({', '.join(prices)})" if prices else ""


def _ended(thing: Json) -> TorchRemoteError:
    name = thing["metadata"]["name"]
    ended = condition(thing, "Ended")
    reason, message = ended.get("reason", "Ended"), ended.get("message", "")
    what = f"lease {name} cannot be had"
    if reason == "Unsatisfiable":
        return Unsatisfiable(what, message or "nothing can ever fit it", "ask for what exists")
    if reason == "WaitTimeout":
        return LeaseTimeout(what, message or "waitTimeout is over")
    if reason in ("Lost", "Crashed"):
        return RemoteLost(what, message or reason, "call torch_remote.lease again")
    return LeaseEnded(what, message or reason, "call torch_remote.lease again", reason=reason)


def _open(api: Api, thing: Json, attach: bool) -> list[int]:
    """Opens one session per executor; returns their device indexes."""
    name, uid = thing["metadata"]["name"], thing["metadata"]["uid"]
    full_name = f"{thing['metadata']['namespace']}/{name}"
    window = _duration.seconds(thing["spec"].get("reconnectWindow", "30m"), "reconnectWindow")
    answer = api.act("deviceleases", name, "token", {"attach": attach})
    indexes: list[int] = []
    try:
        for device in thing["status"]["devices"]:
            where = _reachable(device["endpoints"])
            indexes.append(_C.open_session(where, answer["token"], attach, uid, full_name, reconnect_window=window))
    except BaseException as error:
        for index in indexes:
            _C.close_session(index, False)
        if type(error) is RuntimeError:
            raise _refused(str(error)) from None
        raise
    return indexes


def _reachable(endpoints: list[dict[str, str]]) -> list[dict[str, str]]:
    """The machine's Unix sockets if they are on this computer and this user may connect; elsewhere its other endpoints."""

    def here(path: str) -> bool:
        try:
            return stat.S_ISSOCK(os.stat(path).st_mode) and os.access(path, os.W_OK)
        except OSError:
            return False

    near = [one for one in endpoints if one["kind"] == "unix" and here(one["address"])]
    # With neither, the core says what each one answers.
    return near or [one for one in endpoints if one["kind"] != "unix"] or endpoints


def _refused(text: str) -> TorchRemoteError:
    """The typed error of a session that did not open; the native core writes `what: Reason: why`."""
    found = re.fullmatch(r"(?s)(?P<what>.*? cannot be opened): (?P<reason>[A-Z]\w+): (?P<why>.*)", text)
    if found is None:
        return TorchRemoteError(text, reason="NotOpened")
    return from_reason(found["reason"], found["what"], found["why"])


def _give_up(api: Api, thing: Json) -> None:
    try:
        api.delete("deviceleases", thing["metadata"]["name"], thing["metadata"]["uid"], 5.0)
    except TorchRemoteError as error:
        # The error that made us give up is the one to show; the lease ends without renewals.
        _progress.note(f"lease {thing['metadata']['name']} could not be deleted and ends by itself: {error}")


def _boot_seconds() -> float:
    """A clock that goes on while the laptop sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _short(span: datetime.timedelta) -> str:
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{seconds} s"
