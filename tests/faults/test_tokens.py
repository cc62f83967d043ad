"""Only the token that the control plane made for this lease, at this epoch, opens its one session, and each other one is in the audit.

An expired one, and one from another host: the agent's own tests.
"""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
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


# Of a row of the audit: why, on whose slot, and how many of them.
ROW = re.compile(
    r"(\w+)(?: (\d+) times since it was told last)?(?:, at a slot that serves the lease ([^:]+))?: .*", re.DOTALL
)


def rows(stack: Stack, machine: str, door: str) -> list[dict[str, Any]]:
    """What the audit has of refusals at a door of the machine, the newest first."""
    fields = f"verb=connect,object.resource=remotemachines,object.name={machine}"
    found = json.loads(stack.run("kubectl", "get", "auditevents", "--field-selector", fields, "-o", "json").stdout)
    return [row for row in found["items"] if row["object"].get("subresource", "").startswith(door)]


def refusals(stack: Stack, machine: str, lease: str = "", door: str = "slots/") -> Counter[str]:
    """How many refusals the audit counts under each reason; of this lease, or of all."""
    counts: Counter[str] = Counter()
    for row in rows(stack, machine, door):
        said = ROW.fullmatch(row["reason"])
        assert said is not None, row
        reason, times, serves = said.groups()
        if not lease or serves == f"default/{lease}":
            counts[reason] += int(times or 1)
    return counts


def audited(stack: Stack, machine: str, lease: str, reason: str) -> None:
    """Returns when the audit has a refusal of the lease for that reason."""

    def there() -> bool:
        return any(re.match(reason, found) for found in refusals(stack, machine, lease))

    eventually(there, 30, f"the audit has {reason} of {lease}", 0.2)


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
    audited(bound.stack, "shared", bound.name, reason)
    device = bound.open(token)
    assert _C.device_state(device)[0] == "Open"
    _C.close_session(device, True)


def api_token(stack: Stack) -> str:
    view = stack.run("kubectl", "config", "view", "--raw", "-o", "json").stdout
    user = json.loads(view)["users"][0]["user"]
    return str(user.get("token") or Path(user["tokenFile"]).read_text().strip())


def test_an_api_token_is_no_lease_token(bound: Bound, stack: Stack) -> None:
    with pytest.raises(RuntimeError, match="TokenType"):
        bound.open(api_token(stack))
    audited(stack, "shared", bound.name, "TokenType")


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
        answers = list(pool.map(lambda one: again(*one), tries))
    reasons = [found[0] if (found := re.search(r"Session[A-Z]\w+", answer)) else answer for answer in answers]
    assert reasons == ["SessionConnected", "SessionOpened", "SessionInUse"]
    assert _C.device_state(device)[0] == "Open", "the first session suffered"

    # Tried again and again side by side: of each second the latest is told, for all of them.
    def told() -> bool:
        found = refusals(bound.stack, "shared", bound.name)
        assert set(found) <= set(reasons), found
        return found.total() >= len(tries)

    eventually(told, 30, "the audit counts them all", 0.2)
    _C.close_session(device, True)


def test_a_token_of_another_machine_is_refused(bound: Bound, stack: Stack) -> None:
    stack.machine("elsewhere")
    other = Bound(stack, "elsewhere")
    try:
        with pytest.raises(RuntimeError, match="TokenAudience"):
            bound.open(other.token())
        audited(stack, "shared", bound.name, "TokenAudience")
        assert not rows(stack, "elsewhere", ""), "it was not tried there"
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
        audited(stack, "single", second.name, r"TokenLease|TokenEpoch")
    finally:
        second.end()
        stack.run("kubectl", "delete", "machine", "single", "--wait=false")


def test_a_flood_of_bad_tokens_is_a_few_rows_that_count_each_of_them_and_no_good_one(stack: Stack) -> None:
    stack.machine("besieged")
    lease = Bound(stack, "besieged")
    token = lease.token()
    forgeries = [without_algorithm, with_later_epoch, with_another_key, with_another_signature]
    try:
        began = time.monotonic()
        for attack in range(60):
            with pytest.raises(RuntimeError, match="Token"):
                lease.open(forgeries[attack % 4](token))
        device = lease.open(token)
        with pytest.raises(RuntimeError, match="TokenMalformed"):
            lease.open("the last")
        audited(stack, "besieged", lease.name, "TokenMalformed")
        seconds = time.monotonic() - began
        assert refusals(stack, "besieged").total() == 61, "each counts once, and the good one does not"
        found = rows(stack, "besieged", "")
        assert len(found) <= seconds + 1, f"{len(found)} rows in {seconds:.1f} s"
        for row in found:
            assert (row["user"], row["decision"], row["code"]) == ("", "Deny", 401), row
            assert row["object"]["subresource"] == "slots/0"
            assert "from" not in row, "a Unix socket does not say"
        assert all(part not in json.dumps(found) for part in token.split("."))
        _C.close_session(device, True)
    finally:
        lease.end()
        stack.run("kubectl", "delete", "machine", "besieged", "--wait=false")


def test_no_token_but_the_control_planes_own_commands_an_agent(bound: Bound) -> None:
    # Beside the slots' sockets.
    control = Path(bound.endpoints[0]["address"]).with_name("control")
    assert control.is_socket()
    tokens = ["", "not.a.token", api_token(bound.stack), bound.token()]
    options = [("grpc.default_authority", "agent")]
    with grpc.insecure_channel(f"unix:{control}", options=options) as channel:
        connect = channel.stream_stream("/torchremote.agent.v1.Control/Connect")
        for token in tokens:
            with pytest.raises(grpc.RpcError) as caught:
                next(connect(iter(()), metadata=[("authorization", f"Bearer {token}")], timeout=30))
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED, caught.value

    def told() -> bool:
        return refusals(bound.stack, "shared", door="control").total() == len(tokens)

    eventually(told, 30, "the audit counts each, and none of the control plane's own", 0.2)


def test_only_the_holder_gets_a_token_and_only_when_bound(stack: Stack) -> None:
    api = Api()
    with pytest.raises(errors.TorchRemoteError) as caught:
        api.act("deviceleases", "there-is-none", "token", {"attach": False})
    assert caught.value.reason == "NotFound"
