"""The judge of answers finds what is wrong with them."""

from __future__ import annotations

import json

import pytest

from judge import Answer, approve, faults

STATUS = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": 'namespaces "x" not found',
    "reason": "NotFound",
    "code": 404,
}
JSON = {"content-type": "application/json"}


def refusal(answered: int = 404, headers: dict[str, str] = JSON, method: str = "GET", **changed: object) -> Answer:
    return Answer(method, "/api/v1/namespaces/x", answered, json.dumps({**STATUS, **changed}).encode(), headers)


def test_a_status_is_right() -> None:
    assert faults(refusal()) == []
    assert faults(Answer("GET", "/livez", 200, b"ok", {"content-type": "text/plain"})) == []
    assert faults(Answer("HEAD", "/api", 404, b"", JSON)) == []
    newer = {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}
    assert faults(refusal(504, code=504, reason="Timeout", details=newer)) == []
    assert faults(refusal(401, {**JSON, "www-authenticate": "Bearer"}, code=401)) == []


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (refusal(500, code=500), "the server failed with 500"),
        (refusal(503, code=503), "the server failed with 503"),
        (refusal(504, code=504), "the server failed with 504"),
        (refusal(504, code=504, reason="Timeout", details={"retryAfterSeconds": 1}), "the server failed with 504"),
        (refusal(409), "code is 404 and not 409"),
        (refusal(kind="RemoteMachine"), "kind is 'RemoteMachine' and not 'Status'"),
        (refusal(apiVersion="v2"), "apiVersion is 'v2' and not 'v1'"),
        (refusal(status="Success"), "status is 'Success' and not 'Failure'"),
        (refusal(reason=None), "reason is None"),
        (refusal(message=" "), "message is ' '"),
        (refusal(headers={"content-type": "text/plain; charset=utf-8"}), "its content type is 'text/plain'"),
        (Answer("GET", "/x", 404, b"", JSON), "a refusal is no JSON object"),
        (Answer("GET", "/x", 400, b"the query is malformed", JSON), "a refusal is no JSON object"),
        (Answer("GET", "/x", 404, b'["Status"]', JSON), "a refusal is no JSON object"),
        (Answer("GET", "/x", 200, b"{", JSON), "its body is not JSON"),
        (Answer("HEAD", "/x", 404, b"{}", JSON), "a HEAD has a body"),
        (refusal(401, code=401), "401 without WWW-Authenticate"),
        (refusal(429, {**JSON, "retry-after": "soon"}, code=429), "429 without Retry-After"),
    ],
)
def test_what_is_wrong_is_found(answer: Answer, fault: str) -> None:
    assert faults(answer) == [fault]
    with pytest.raises(AssertionError, match=fault.split("'")[0]):
        approve(answer)
