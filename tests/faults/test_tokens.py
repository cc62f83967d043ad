"""Only the token that the control plane made for this lease, at this epoch, opens its one session. (An expired one: agent's own tests.)"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stack import Stack, eventually
from torch_remote import _C, errors
from torch_remote._api import Api

Forge = Callable[[str], str]


class Bound:
    """A lease made as kubectl makes one, Bound and not opened."""

    def __init__(self, stack: Stack, machine: str) -> None:
        self.stack, self.name = stack, f"token-{uuid.uuid4().hex[:8]}"
        self.api = Api()
        spec = {"gpu": [{"type": "CPU"}], "machineRef": {"name": machine}, "waitTimeout": "1m"}
        kind = {"apiVersion": "torchremote.dev/v1alpha1", "kind": "DeviceLease"}
        stack.apply({**kind, "metadata": {"name": self.name}, "spec": spec})
        eventually(lambda: stack.phase("devicelease", self.name) == "Bound", 60, f"{self.name} is Bound")
        self.thing = self.api.get("deviceleases", self.name) or {}

    @property
    def endpoints(self) -> list[dict[str, str]]:
        endpoints: list[dict[str, str]] = self.thing["status"]["devices"][0]["endpoints"]
        return endpoints

    def token(self, attach: bool = False) -> str:
        return str(self.api.act("deviceleases", self.name, "token", {"attach": attach})["token"])

    def open(self, token: str, attach: bool = False) -> int:
        uid = self.thing["metadata"]["uid"]
        return _C.open_session(self.endpoints, token, attach, uid, self.name, open_timeout=5.0)

    def end(self) -> None:
        self.api.delete("deviceleases", self.name)
        eventually(lambda: self.stack.get("devicelease", self.name) is None, 60, f"{self.name} is gone")


@pytest.fixture
def bound(stack: Stack) -> Iterator[Bound]:
    lease = Bound(stack, "shared")
    yield lease
    lease.end()


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, claims, signature = token.split(".")
    return decode(header), decode(claims), signature


def decode(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def encode(thing: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(thing).encode()).rstrip(b"=").decode()


def without_algorithm(token: str) -> str:
    header, claims, _ = parts(token)
    return f"{encode({**header, 'alg': 'none'})}.{encode(claims)}."


def with_later_epoch(token: str) -> str:
    header, claims, signature = parts(token)
    slots = [{**slot, "epoch": slot["epoch"] + 1} for slot in claims["slots"]]
    return f"{encode(header)}.{encode({**claims, 'slots': slots})}.{signature}"


def with_another_key(token: str) -> str:
    header, claims, signature = parts(token)
    return f"{encode({**header, 'kid': 'mine'})}.{encode(claims)}.{signature}"


def with_another_signature(token: str) -> str:
    start, _, signature = token.rpartition(".")
    middle = len(signature) // 2
    return f"{start}.{signature[:middle]}{'A' if signature[middle] != 'A' else 'B'}{signature[middle + 1 :]}"


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (without_algorithm, "TokenAlgorithm"),
        (with_later_epoch, "TokenSignature"),
        (with_another_key, "TokenKeyUnknown"),
        (with_another_signature, "TokenSignature"),
        (lambda token: "", "Token"),
        (lambda token: "not.a.token", "TokenMalformed"),
    ],
    ids=["alg-none", "changed-claims", "unknown-key", "changed-signature", "empty", "no-token"],
)
def test_a_forged_token_is_refused_and_the_true_one_still_opens(bound: Bound, forge: Forge, reason: str) -> None:
    token = bound.token()
    with pytest.raises(RuntimeError, match=reason):
        bound.open(forge(token))
    device = bound.open(token)
    assert _C.device_state(device)[0] == "Open"
    _C.close_session(device, True)


def test_an_api_token_is_no_lease_token(bound: Bound, stack: Stack) -> None:
    view = stack.run("kubectl", "config", "view", "--raw", "-o", "json").stdout
    user = json.loads(view)["users"][0]["user"]
    token = user.get("token") or Path(user["tokenFile"]).read_text().strip()
    with pytest.raises(RuntimeError, match="TokenType"):
        bound.open(token)


def test_a_token_opens_one_session_and_no_second(bound: Bound) -> None:
    token = bound.token()
    device = bound.open(token)

    def again(token: str, attach: bool) -> str:
        with pytest.raises(RuntimeError) as caught:
            bound.open(token, attach)
        return str(caught.value)

    # Each is tried for 5 s, as the first session could be one that is just being lost: at the same time, then.
    with ThreadPoolExecutor() as pool:
        tries = [(token, False), (bound.token(), False), (bound.token(attach=True), True)]
        refusals = list(pool.map(lambda one: again(*one), tries))
    reasons = [found[0] if (found := re.search(r"Session[A-Z]\w+", refusal)) else refusal for refusal in refusals]
    assert reasons == ["SessionConnected", "SessionOpened", "SessionInUse"]
    assert _C.device_state(device)[0] == "Open", "the first session suffered"
    _C.close_session(device, True)


def test_a_token_of_another_machine_is_refused(bound: Bound, stack: Stack) -> None:
    stack.machine("elsewhere")
    other = Bound(stack, "elsewhere")
    try:
        with pytest.raises(RuntimeError, match="TokenAudience"):
            bound.open(other.token())
    finally:
        other.end()
        stack.run("kubectl", "delete", "machine", "elsewhere", "--wait=false")


def test_a_token_of_an_ended_lease_does_not_open_the_slots_next_one(stack: Stack) -> None:
    stack.machine("single")
    first = Bound(stack, "single")
    token = first.token()
    epoch = first.thing["status"]["devices"][0]["epoch"]
    first.end()
    second = Bound(stack, "single")
    try:
        assert second.thing["status"]["devices"][0]["epoch"] > epoch
        with pytest.raises(RuntimeError, match=r"TokenLease|TokenEpoch"):
            second.open(token)
    finally:
        second.end()
        stack.run("kubectl", "delete", "machine", "single", "--wait=false")


def test_only_the_holder_gets_a_token_and_only_when_bound(stack: Stack) -> None:
    api = Api()
    with pytest.raises(errors.TorchRemoteError) as caught:
        api.act("deviceleases", "there-is-none", "token", {"attach": False})
    assert caught.value.reason == "NotFound"
