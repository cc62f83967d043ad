"""What every answer of the API must be, whoever asks for whatever."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One answer, as it came."""

    method: str
    url: str
    code: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content_type(self) -> str:
        """Without its parameters."""
        return self.headers.get("content-type", "").split(";")[0].strip()

    @property
    def json(self) -> Any:
        """Its body; None if that is not JSON."""
        return parsed(self.body)

    def __str__(self) -> str:
        return f"{self.method} {self.url}: {self.code} {self.body[:600].decode(errors='replace')}"


def faults(answer: Answer) -> list[str]:
    """What is wrong with it; nothing, if nothing is."""
    if answer.code >= 500 and not too_new(answer):
        return [f"the server failed with {answer.code}"]
    wrong = []
    if answer.code == 401 and "www-authenticate" not in answer.headers:
        wrong.append("401 without WWW-Authenticate")
    if answer.code == 429 and not answer.headers.get("retry-after", "").isdigit():
        wrong.append("429 without Retry-After")
    if answer.method == "HEAD":
        return wrong + (["a HEAD has a body"] if answer.body else [])
    if answer.code >= 400:
        wrong += not_a_status(answer)
    elif answer.content_type == "application/json" and answer.body and parsed(answer.body) is None:
        wrong.append("its body is not JSON")
    return wrong


def not_a_status(answer: Answer) -> list[str]:
    """What keeps a refusal from being a Status."""
    status = parsed(answer.body)
    if not isinstance(status, dict):
        return ["a refusal is no JSON object"]
    expected = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": answer.code, "metadata": {}}
    wrong = [
        f"{name} is {status.get(name)!r} and not {value!r}"
        for name, value in expected.items()
        if status.get(name) != value
    ]
    wrong += [
        f"{name} is {status.get(name)!r}"
        for name in ("reason", "message")
        if not isinstance(status.get(name), str) or not status[name].strip()
    ]
    if answer.content_type != "application/json":
        wrong.append(f"its content type is {answer.content_type!r}")
    return wrong


def too_new(answer: Answer) -> bool:
    """Whether it says, as Kubernetes does, that a resource version was asked for that is not there yet: 504, and nothing has failed."""
    status = parsed(answer.body) if answer.code == 504 else None
    causes = (status.get("details") or {}).get("causes") if isinstance(status, dict) else None
    return any(cause["reason"] == "ResourceVersionTooLarge" for cause in causes or [])


def parsed(body: bytes) -> Any:
    """The JSON that it is, else None."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def approve(answer: Answer) -> Answer:
    """Fails unless the answer is as it must be."""
    wrong = faults(answer)
    assert not wrong, f"{'; '.join(wrong)}: {answer}"
    return answer
