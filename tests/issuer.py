"""An issuer (OpenID Connect) of the tests': the device flow and refresh tokens that are used once; everybody who asks is the same person."""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

CLIENT = "torch-remote-cli"


def encoded(raw: bytes) -> str:
    """base64url as tokens have it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """Listens on this machine until it is closed. `asked` counts what for."""

    def __init__(self, user: str, life: int, clock: Callable[[], float]) -> None:
        self.user, self.life, self.clock = user, life, clock
        self.asked: Counter[str] = Counter()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.refresh_tokens: set[str] = set()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                sent = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
                code, body = issuer.answer(self.path, {name: values[0] for name, values in parse_qs(sent).items()})
                text = json.dumps(body).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = respond

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Stops it."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def settings(self) -> dict[str, Any]:
        """An entry of `--oidc-config` that trusts it."""
        trusted = {"issuer": self.url, "audiences": [CLIENT], "usernamePrefix": "oidc:"}
        return {**trusted, "login": {"clientID": CLIENT}}

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        """What it says to one request."""
        if path == "/.well-known/openid-configuration":
            at = {"jwks_uri": "keys", "token_endpoint": "token", "device_authorization_endpoint": "device"}
            return 200, {"issuer": self.url, **{name: f"{self.url}/{end}" for name, end in at.items()}}
        if path == "/keys":
            return 200, {"keys": [self._public()]}
        if path == "/device":
            code = {"device_code": "device", "user_code": "CODE", "verification_uri": f"{self.url}/enter"}
            return 200, {**code, "expires_in": 300, "interval": 1}
        grant = form["grant_type"].rpartition(":")[2]
        self.asked[grant] += 1
        if grant == "refresh_token":
            if form["refresh_token"] not in self.refresh_tokens:
                return 400, {"error": "invalid_grant"}
            self.refresh_tokens.remove(form["refresh_token"])
        refresh = str(uuid.uuid4())
        self.refresh_tokens.add(refresh)
        return 200, {"id_token": self._token(), "refresh_token": refresh, "token_type": "Bearer"}

    def _public(self) -> dict[str, str]:
        numbers = self.key.public_key().public_numbers()
        point = {"x": encoded(numbers.x.to_bytes(32, "big")), "y": encoded(numbers.y.to_bytes(32, "big"))}
        return {"kty": "EC", "crv": "P-256", "kid": "1", "use": "sig", **point}

    def _token(self) -> str:
        now = int(self.clock())
        header = {"alg": "ES256", "kid": "1", "typ": "JWT"}
        claims = {"iss": self.url, "sub": self.user, "aud": CLIENT, "iat": now, "exp": now + self.life}
        text = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
        r, s = utils.decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(SHA256())))
        return f"{text}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
