"""The few objects of the API that the SDK reads and writes, over the native control path."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from . import _C, _process
from .errors import TorchRemoteError

__all__ = ["API_VERSION", "Api", "Json", "condition"]

API_VERSION = "torchremote.dev/v1alpha1"
Json = dict[str, Any]

_RENEW_SECONDS = 10.0


def condition(thing: Json, name: str) -> Json:
    """The condition `name` of an object, empty where it has none."""
    found = (c for c in thing.get("status", {}).get("conditions", []) if c.get("type") == name)
    return next(found, {})


class Api:
    """The user's control plane in one namespace."""

    def __init__(self, namespace: str | None = None) -> None:
        self.control = _C.ControlPlane(namespace)
        self.namespace = self.control.namespace
        self.traceparent: str | None = None

    def collection(self, plural: str, namespace: str | None = None) -> str:
        """Path of all objects of a kind in a namespace."""
        return f"/apis/{API_VERSION}/namespaces/{namespace or self.namespace}/{plural}"

    def create(self, plural: str, manifest: Json) -> Json:
        """Creates an object; `Conflict` with reason AlreadyExists where the name is taken."""
        return self._ask("POST", self.collection(plural), manifest)

    def get(self, plural: str, name: str, namespace: str | None = None) -> Json | None:
        """An object, None where there is none."""
        try:
            return self._ask("GET", f"{self.collection(plural, namespace)}/{name}")
        except TorchRemoteError as error:
            if error.reason == "NotFound":
                return None
            raise

    def act(self, plural: str, name: str, verb: str, body: Json) -> Json:
        """Posts to a subresource."""
        return self._ask("POST", f"{self.collection(plural)}/{name}/{verb}", body)

    def delete(self, plural: str, name: str, uid: str | None = None, seconds: float = 30.0) -> bool:
        """Deletes an object, if `uid` is given only that very one; False where there is none."""
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            self._ask("DELETE", f"{self.collection(plural)}/{name}", options, seconds)
        except TorchRemoteError as error:
            if error.reason in ("NotFound", "Conflict"):
                return False
            raise
        return True

    def providers(self) -> list[Json]:
        """All Providers the user may see; none where that is not allowed."""
        try:
            listed = self._ask("GET", f"/apis/{API_VERSION}/providers", seconds=5.0)
        except TorchRemoteError:
            return []
        return list(listed.get("items", []))

    def follow(self, plural: str, name: str, seen: Callable[[Json | None], bool], seconds: float | None) -> bool:
        """Calls `seen` with the object as it is and after each change until it returns True; False when `seconds` were over first."""
        return self.control.follow(self.collection(plural), name, lambda text: seen(json.loads(text)), seconds=seconds)

    def keep_renewing(self, name: str) -> _C.Renewal:
        """Renews a lease in the background until the result is stopped."""
        return self.control.keep_renewing(f"{self.collection('deviceleases')}/{name}/renew", _RENEW_SECONDS)

    def keep_vigil(self, name: str, uid: str, sessions: list[_C.Session]) -> _C.Vigil:
        """Ends sessions that are not connected when the control plane says that their lease is over."""
        return self.control.keep_vigil(self.collection("deviceleases"), name, uid, sessions)

    def _ask(self, method: str, path: str, body: Json | None = None, seconds: float = 30.0) -> Json:
        _process.refuse_fork()
        sent = None if body is None else json.dumps(body)
        answer = self.control.request(method, path, sent, seconds=seconds, traceparent=self.traceparent)
        parsed: Json = json.loads(answer)
        return parsed
