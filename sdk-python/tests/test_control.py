"""The control path against a scripted server: who we are, what a refusal becomes, and how an object is followed."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fake_api import Answer, FakeApi, status

from torch_remote import _C, errors

Serve = Callable[[Callable[[str, str, dict[str, str], str], Answer]], FakeApi]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Serve]:
    """Starts a fake server and points TORCH_REMOTE_SERVER at it."""
    started: list[FakeApi] = []

    def start(answer: Callable[[str, str, dict[str, str], str], Answer]) -> FakeApi:
        fake = FakeApi(answer)
        started.append(fake)
        monkeypatch.setenv("TORCH_REMOTE_SERVER", fake.url)
        return fake

    for name in (
        "KUBECONFIG",
        "TORCH_REMOTE_TOKEN",
        "TORCH_REMOTE_TOKEN_FILE",
        "TORCH_REMOTE_CA_FILE",
        "TORCH_REMOTE_NAMESPACE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield start
    for fake in started:
        fake.close()


def test_a_token_file_that_was_replaced_is_read_again_on_401(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def answer(method: str, path: str, headers: dict[str, str], body: str) -> Answer:
        if headers.get("authorization") != "Bearer new":
            return status(401, "Unauthorized", "Unauthorized")
        return 200, {"ok": True}

    serve(answer)
    token = tmp_path / "token"
    token.write_text("old")
    monkeypatch.setenv("TORCH_REMOTE_TOKEN_FILE", str(token))
    control = _C.ControlPlane()
    with pytest.raises(errors.Unauthorized, match="The token is wrong or has expired"):
        control.request("GET", "/version")
    token.write_text("new")
    assert json.loads(control.request("GET", "/version")) == {"ok": True}


def test_the_kubeconfig_is_read_as_kubectl_reads_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = serve(lambda method, path, headers, body: (200, {"authorization": headers.get("authorization")}))
    monkeypatch.delenv("TORCH_REMOTE_SERVER")
    (tmp_path / "token").write_text("from-the-file")
    (tmp_path / "config").write_text(
        f"""
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: c, user: u, namespace: team-a}}}}]
clusters: [{{name: c, cluster: {{server: "{fake.url}"}}}}]
users: [{{name: u, user: {{tokenFile: token}}}}]
"""
    )
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    control = _C.ControlPlane()
    assert (control.server, control.namespace) == (fake.url, "team-a")
    assert json.loads(control.request("GET", "/version")) == {"authorization": "Bearer from-the-file"}
    monkeypatch.setenv("TORCH_REMOTE_NAMESPACE", "team-b")
    assert _C.ControlPlane().namespace == "team-b"
    assert _C.ControlPlane("team-c").namespace == "team-c"


def with_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fake: FakeApi, script: str) -> Path:
    """A kubeconfig whose user's token comes from a program, as `torch-remote login` writes it; returns the file that gets a line at each run."""
    monkeypatch.delenv("TORCH_REMOTE_SERVER")
    program, runs = tmp_path / "program", tmp_path / "runs"
    program.write_text(f"#!/bin/sh\necho run >> {runs}\ncount=$(wc -l < {runs})\n{script}\n")
    program.chmod(0o755)
    (tmp_path / "config").write_text(
        f"""
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "{fake.url}"}}}}]
users:
- name: u
  user:
    exec: {{apiVersion: client.authentication.k8s.io/v1, command: "{program}", interactiveMode: IfAvailable}}
"""
    )
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    return runs


def credential(until: str) -> str:
    """A script's line that prints the token `token-N` of its Nth run."""
    return f"""printf '{{"status": {{"token": "token-%d", "expirationTimestamp": "{until}"}}}}' "$count" """


def test_a_program_is_asked_for_a_token_once_until_the_token_ends(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = serve(lambda method, path, headers, body: (200, {"authorization": headers.get("authorization")}))
    runs = with_program(monkeypatch, tmp_path, fake, credential("2099-01-01T00:00:00Z"))
    control = _C.ControlPlane()
    for _ in range(3):
        assert json.loads(control.request("GET", "/version")) == {"authorization": "Bearer token-1"}
    assert len(runs.read_text().splitlines()) == 1


def test_a_program_is_asked_again_when_its_token_has_ended(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = serve(lambda method, path, headers, body: (200, {"authorization": headers.get("authorization")}))
    with_program(monkeypatch, tmp_path, fake, credential("2020-01-01T00:00:00Z"))
    control = _C.ControlPlane()
    assert json.loads(control.request("GET", "/version")) == {"authorization": "Bearer token-2"}
    assert json.loads(control.request("GET", "/version")) == {"authorization": "Bearer token-3"}


def test_a_program_is_asked_again_when_its_token_is_refused(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def answer(method: str, path: str, headers: dict[str, str], body: str) -> Answer:
        if headers.get("authorization") != "Bearer token-2":
            return status(401, "Unauthorized", "Unauthorized")
        return 200, {"ok": True}

    fake = serve(answer)
    with_program(monkeypatch, tmp_path, fake, credential("2099-01-01T00:00:00Z"))
    assert json.loads(_C.ControlPlane().request("GET", "/version")) == {"ok": True}


def test_a_call_whose_token_is_refused_twice_is_no_third_time_tried(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = serve(lambda *request: status(401, "Unauthorized", "Unauthorized"))
    runs = with_program(monkeypatch, tmp_path, fake, credential("2099-01-01T00:00:00Z"))
    control = _C.ControlPlane()
    with pytest.raises(errors.Unauthorized, match="The token is wrong or has expired"):
        control.request("GET", "/version")
    assert len(fake.seen) == 2
    assert len(runs.read_text().splitlines()) == 2


def test_of_many_calls_that_are_refused_at_once_one_asks_the_program_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    together = threading.Barrier(8)

    def answer(method: str, path: str, headers: dict[str, str], body: str) -> Answer:
        if headers.get("authorization") == "Bearer token-1":
            together.wait(30)
            return status(401, "Unauthorized", "Unauthorized")
        return 200, {"authorization": headers.get("authorization")}

    fake = serve(answer)
    runs = with_program(monkeypatch, tmp_path, fake, credential("2099-01-01T00:00:00Z"))
    control = _C.ControlPlane()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: json.loads(control.request("GET", "/version")), range(8)))
    assert answers == [{"authorization": "Bearer token-2"}] * 8
    assert len(runs.read_text().splitlines()) == 2


def test_a_program_that_fails_is_quoted(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = serve(lambda method, path, headers, body: (200, {}))
    with_program(monkeypatch, tmp_path, fake, "echo 'the login has ended' >&2; exit 1")
    with pytest.raises(errors.Unauthorized, match="the login has ended"):
        _C.ControlPlane()


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (403, "Forbidden", errors.Unauthorized),
        (409, "AlreadyExists", errors.Conflict),
        (422, "Invalid", errors.InvalidRequest),
        (404, "NotFound", errors.TorchRemoteError),
        (500, "InternalError", errors.TorchRemoteError),
    ],
)
def test_a_refusal_becomes_a_typed_error_with_the_servers_words(
    serve: Serve, code: int, reason: str, expected: type[errors.TorchRemoteError]
) -> None:
    serve(lambda *request: status(code, reason, "the server's own words"))
    with pytest.raises(expected, match="the server's own words") as caught:
        _C.ControlPlane().request("POST", "/apis", "{}")
    assert caught.value.reason == reason


def test_an_answer_that_is_none_is_no_crash(serve: Serve) -> None:
    serve(lambda *request: (503, "<html>"))
    with pytest.raises(errors.TorchRemoteError):
        _C.ControlPlane().request("GET", "/version")


def test_a_server_that_does_not_answer_is_given_up_at_the_deadline(serve: Serve) -> None:
    release = threading.Event()

    def answer(*request: Any) -> Answer:
        release.wait(30)
        return 200, {}

    serve(answer)
    try:
        with pytest.raises(errors.NoControlPlane, match=r"no answer within 0\.2 s"):
            _C.ControlPlane().request("GET", "/version", seconds=0.2)
    finally:
        release.set()


def test_a_call_carries_the_trace_of_its_lease(serve: Serve) -> None:
    serve(lambda method, path, headers, body: (200, {"traceparent": headers.get("traceparent")}))
    trace = _C.Trace("a-lease")
    assert _is_traceparent(trace.traceparent)
    answer = json.loads(_C.ControlPlane().request("GET", "/version", traceparent=trace.traceparent))
    assert answer["traceparent"] == trace.traceparent
    trace.end()
    trace.end()


def _is_traceparent(text: str) -> bool:
    version, trace, span, flags = text.split("-")
    return (
        (version, len(trace), len(span), len(flags)) == ("00", 32, 16, 2) and int(trace, 16) > 0 and int(span, 16) > 0
    )


def machine(version: int, phase: str) -> dict[str, Any]:
    return {"metadata": {"name": "m", "resourceVersion": str(version)}, "status": {"phase": phase}}


def test_following_goes_on_when_watches_end_and_the_server_is_away_for_a_while(serve: Serve) -> None:
    phases = iter(["Pending", "Starting", "Ready"])
    failures = iter([True, False, True, False, False])
    latest = [machine(1, "Pending")]

    def answer(method: str, path: str, headers: dict[str, str], body: str) -> Answer:
        if "watch=true" in path:
            assert "fieldSelector=metadata.name%3Dm" in path
            latest[0] = machine(int(latest[0]["metadata"]["resourceVersion"]) + 1, next(phases))
            return 200, [{"type": "MODIFIED", "object": latest[0]}]
        if next(failures, False):
            return status(503, "ServiceUnavailable", "starting")
        return 200, latest[0]

    serve(answer)
    seen: list[str] = []

    def look(text: str) -> bool:
        seen.append(json.loads(text)["status"]["phase"])
        return seen[-1] == "Ready"

    assert _C.ControlPlane().follow("/apis/machines", "m", look, seconds=30)
    assert seen[0] == "Pending"
    assert seen[-1] == "Ready"
    assert sorted(set(seen), key=seen.index) == ["Pending", "Starting", "Ready"]


def test_following_an_object_that_is_gone_says_so_and_a_refusal_ends_it(serve: Serve) -> None:
    answers = [status(404, "NotFound", "no such lease"), status(403, "Forbidden", "not yours")]
    serve(lambda *request: answers.pop(0) if len(answers) > 1 else answers[0])
    seen: list[str] = []
    with pytest.raises(errors.Unauthorized, match="not yours"):
        _C.ControlPlane().follow("/apis/leases", "x", lambda text: bool(seen.append(text)), seconds=30)
    assert seen == ["null"]


def test_following_ends_at_its_time_and_on_an_exception_of_its_reader(serve: Serve) -> None:
    release = threading.Event()

    def answer(method: str, path: str, headers: dict[str, str], body: str) -> Answer:
        if "watch=true" in path:
            release.wait(30)
            return 200, []
        return 200, machine(1, "Pending")

    serve(answer)
    try:
        assert not _C.ControlPlane().follow("/apis/machines", "m", lambda text: False, seconds=0.3)
        with pytest.raises(ZeroDivisionError):
            _C.ControlPlane().follow("/apis/machines", "m", lambda text: bool(1 / 0), seconds=30)
    finally:
        release.set()


def test_ctrl_c_ends_a_wait(serve: Serve) -> None:
    release = threading.Event()
    waiting = threading.Event()

    def answer(*request: Any) -> Answer:
        waiting.set()
        release.wait(30)
        return 200, {}

    serve(answer)

    def interrupt() -> None:
        waiting.wait(30)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            _C.ControlPlane().request("GET", "/version")
    finally:
        release.set()
        thread.join()


def test_renewing_goes_on_through_an_outage_and_stops_when_the_lease_is_gone(serve: Serve) -> None:
    answers = iter([(200, {}), status(503, "ServiceUnavailable", "away"), (200, {}), status(404, "NotFound", "gone")])
    ended = threading.Event()

    def answer(method: str, path: str, headers: dict[str, str], body: str) -> Answer:
        assert (method, path) == ("POST", "/apis/leases/x/renew")
        code, content = next(answers)
        if code == 404:
            ended.set()
        return code, content

    fake = serve(answer)
    renewal = _C.ControlPlane().keep_renewing("/apis/leases/x/renew", 0.05)
    assert ended.wait(30)
    renewal.stop()
    assert len(fake.seen) == 4
