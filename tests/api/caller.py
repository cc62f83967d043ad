"""Callers of one control plane: each sends what it is given, as it is, and reads the whole answer, or of a watch the head."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import yaml

from judge import Answer, approve
from stack import Stack

SECONDS = 60.0
# What lies idle for longer is not used again: the server may be about to close it.
IDLE = 3.0


class Caller:
    """Calls with the token of a file, or with none."""

    def __init__(self, server: Stack, token: Path | None) -> None:
        config = yaml.safe_load(server.kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self.server, self.token = str(cluster["server"]), token
        authority = server.folder / "authority.pem"
        authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        self.tls = ssl.create_default_context(cafile=str(authority))
        self.last: requests.Response | None = None
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(authority)
        self.used = time.monotonic()

    @classmethod
    def administrator(cls, server: Stack) -> Caller:
        """The user of the kubeconfig."""
        config = yaml.safe_load(server.kubeconfig.read_text())
        return cls(server, Path(config["users"][0]["user"]["tokenFile"]))

    def authorization(self) -> dict[str, str]:
        """The header; the file may be replaced at any time."""
        return {"Authorization": f"Bearer {self.token.read_text().strip()}"} if self.token else {}

    def send(self, method: str, url: str, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        """One request by an ordinary client. Told to wait, it waits and asks again."""
        whole = url if url.startswith("https://") else self.server + url
        while True:
            sent = {**(headers or {}), **self.authorization()}
            if time.monotonic() - self.used > IDLE:
                self.session.close()
            with self.session.request(
                method, whole, headers=sent, stream=True, allow_redirects=False, timeout=SECONDS, **more
            ) as response:
                fields = {name.lower(): value for name, value in response.headers.items()}
                body = b"" if watches(response.status_code, fields, method) else response.content
                self.last, self.used = response, time.monotonic()
            answer = approve(Answer(method, response.url, response.status_code, body, fields))
            if answer.code != 429:
                return answer
            time.sleep(float(fields["retry-after"]))

    def raw(self, request: bytes) -> Answer:
        """One request byte for byte, on a connection of its own."""
        where = urlsplit(self.server)
        with (
            socket.create_connection((str(where.hostname), where.port or 443), SECONDS) as plain,
            self.tls.wrap_socket(plain, server_hostname=where.hostname) as stream,
        ):
            # What is refused early is not read to its end; the answer is there all the same.
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                stream.sendall(request)
            words = request.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            response = http.client.HTTPResponse(stream, method=words[0])
            response.begin()
            fields = {name.lower(): value for name, value in response.getheaders()}
            body = b"" if watches(response.status, fields, words[0]) else response.read()
            return Answer(words[0], " ".join(words[1:-1]), response.status, body, fields)


def watches(code: int, fields: dict[str, str], method: str) -> bool:
    """Whether the answer goes on: of all answers only watches have no length."""
    return code == 200 and "content-length" not in fields and method != "HEAD"
