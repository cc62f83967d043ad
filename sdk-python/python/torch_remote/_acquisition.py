"""From a request to open sessions: creating the lease or finding it, waiting for it, opening it, and giving it up when that fails.

Leaves what is asked for to `_request` and the lease that is then held to `_leases`.
"""

from __future__ import annotations

import os
import re
import stat
import time
from typing import NamedTuple

from . import _C, _duration
from ._api import Api, Json, condition
from ._identity import Identity
from ._progress import Progress, note
from ._request import Request
from .errors import (
    Conflict,
    LeaseEnded,
    LeaseTimeout,
    RemoteLost,
    TorchRemoteError,
    Unsatisfiable,
    from_reason,
)

__all__ = ["Acquired", "acquire", "reachable"]

_GONE_SECONDS = 30.0


class Acquired(NamedTuple):
    """A lease that is bound, and its open sessions."""

    thing: Json
    sessions: list[_C.Session]
    taken_over: bool


def acquire(api: Api, request: Request, identity: Identity, wait: float | None, progress: Progress) -> Acquired:
    """Asks for the lease, or finds it; waits until it is bound, and opens it. Gives up what it made where that fails.

    Raises:
        Unsatisfiable, LeaseTimeout, LeaseEnded, NoControlPlane, Unauthorized, Conflict: see their texts.
    """
    trace = _C.Trace(identity.name)
    api.traceparent = trace.traceparent
    thing, attach = _create_or_adopt(api, request, identity, progress)
    name = thing["metadata"]["name"]
    renewal = api.keep_renewing(name)
    try:
        bound = _wait_bound(api, name, request, wait, progress)
        return Acquired(bound, _open(api, bound, attach), attach)
    except BaseException:
        progress.abandon()
        if not attach:
            _give_up(api, thing)
        raise
    finally:
        renewal.stop()
        trace.end()


def _create_or_adopt(api: Api, request: Request, identity: Identity, progress: Progress) -> tuple[Json, bool]:
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


def _wait_bound(api: Api, name: str, request: Request, wait: float | None, progress: Progress) -> Json:
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


def _open(api: Api, thing: Json, attach: bool) -> list[_C.Session]:
    """Opens one session per executor."""
    name, uid = thing["metadata"]["name"], thing["metadata"]["uid"]
    full_name = f"{thing['metadata']['namespace']}/{name}"
    window = _duration.seconds(thing["spec"].get("reconnectWindow", "30m"), "reconnectWindow")
    answer = api.act("deviceleases", name, "token", {"attach": attach})
    sessions: list[_C.Session] = []
    try:
        for device in thing["status"]["devices"]:
            where = reachable(device["endpoints"])
            sessions.append(_C.Session(where, answer["token"], attach, uid, full_name, reconnect_window=window))
    except BaseException as error:
        for session in sessions:
            session.close(False)
        if type(error) is RuntimeError:
            raise _refused(str(error)) from None
        raise
    return sessions


def reachable(endpoints: list[dict[str, str]]) -> list[dict[str, str]]:
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
        note(f"lease {thing['metadata']['name']} could not be deleted and ends by itself: {error}")
