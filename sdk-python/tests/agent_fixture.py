"""An agent without a control plane: started by hand, its slots bound over Control with a key of our own. The data path is tested against it.

Control messages are few and small: they are written field by field here, so that no protobuf compiler is needed.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER = "https://control.test"
PATIENCE = 120.0


def binary() -> Path:
    """The agent's binary: TORCH_REMOTE_AGENT, or where cargo puts it."""
    if named := os.environ.get("TORCH_REMOTE_AGENT"):
        return Path(named)
    folder = os.environ.get("CARGO_TARGET_DIR") or Path(__file__).resolve().parents[2] / "target"
    return Path(folder) / "debug" / "torch-remote-agent"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """Signs the tokens a control plane would."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    def jwks(self) -> dict[str, object]:
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        key = {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "k1", "x": _base64(public)}
        return {"keys": [key]}

    def token(self, kind: str, seconds: int, **claims: object) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": "admin",
            "exp": now + seconds,
            "nbf": now,
            "iat": now,
            "jti": uuid.uuid4().hex,
            **claims,
        }
        head = _base64(json.dumps({"alg": "EdDSA", "typ": kind, "kid": "k1"}).encode())
        body = head + "." + _base64(json.dumps(claims).encode())
        return body + "." + _base64(self._key.sign(body.encode()))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            length = varint()
            at += length
            yield key >> 3, message[at - length : at]


def _die_with_parent() -> None:
    """A test that is killed leaves no agent behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Agent:
    """A running agent with one slot on a Unix socket."""

    def __init__(self, binary: Path, threads: int = 1, slots: int = 1, public: str | None = None) -> None:
        self.signer = Signer()
        self.machine = f"machine-{uuid.uuid4().hex[:8]}"
        self.folder = tempfile.TemporaryDirectory(prefix="tr-")
        self.epochs = [0] * slots
        self._claim = 1
        config = {
            "machineUid": self.machine, "machine": "test/machine", "token": "intent", "issuer": ISSUER, "jwks": self.signer.jwks(),
            "control": {"unix": self.path("control.sock")},
            "slots": [{"gpu": slot, "listen": {"unix": self.path(f"slot{slot}.sock")}} for slot in range(slots)],
            "device": "cpu", "threads": threads, "deadManMs": 600_000, "heartbeatMs": 500,
        }  # fmt: skip
        if public is not None:
            config["publicAddress"] = public
        file = Path(self.path("agent.json"))
        file.write_text(json.dumps(config))
        file.chmod(0o600)
        import torch

        env = {**os.environ, "LD_LIBRARY_PATH": str(Path(torch.__file__).parent / "lib")}
        command = [binary, "supervise", "--token", "intent", "--config", file]
        self.process = subprocess.Popen(command, env=env, preexec_fn=_die_with_parent)
        self._commands: Queue[bytes | None] = Queue()
        self._bound: dict[tuple[int, int], bytes] = {}
        self._refused: dict[tuple[int, int], str] = {}
        self._changed = threading.Condition()
        self._connect()

    def path(self, name: str) -> str:
        return str(Path(self.folder.name) / name)

    def _connect(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not Path(self.path("control.sock")).exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the agent did not start (exit code {self.process.returncode})")
            time.sleep(0.02)
        self._channel = grpc.insecure_channel(
            f"unix:{self.path('control.sock')}", options=[("grpc.default_authority", "localhost")]
        )
        call = self._channel.stream_stream("/torchremote.agent.v1.Control/Connect")
        token = self.signer.token("control+jwt", 60, aud=self.machine, claim=self._claim)
        events = call(iter(self._commands.get, None), metadata=[("authorization", f"Bearer {token}")])
        hello = _field(1, 1) + _field(2, json.dumps(self.signer.jwks())) + _field(3, ISSUER) + _field(4, 500)
        self._commands.put(_field(1, hello))
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def _listen(self, events: Iterator[bytes]) -> None:
        try:
            for event in events:
                for kind, body in _fields(event):
                    if kind in (2, 3):
                        assert isinstance(body, bytes)
                        found = {number: value for number, value in _fields(body)}
                        key = (int(found.get(1, 0)), int(found.get(2, 0)))
                        with self._changed:
                            if kind == 2:
                                self._bound[key] = body
                            else:
                                self._refused[key] = repr(found)
                            self._changed.notify_all()
        except grpc.RpcError:
            pass  # The agent ended: whoever waits for a bind sees it by the deadline.

    def bind(self, lease: str, slot: int = 0, memory: int = 0, orphan_ms: int = 60_000) -> str:
        """Binds the slot to a lease at the next epoch; returns a token that opens it."""
        self.epochs[slot] += 1
        key = (slot, self.epochs[slot])
        numbers = {6: 3_600_000, 7: 1_800_000, 8: orphan_ms, 11: 600_000, 12: memory}
        bind = (
            _field(1, slot)
            + _field(2, self.epochs[slot])
            + _field(3, lease)
            + _field(4, f"test/{lease}")
            + _field(5, "admin")
        )
        bind += b"".join(_field(number, value) for number, value in numbers.items())
        deadline = time.monotonic() + PATIENCE
        while True:
            self._commands.put(_field(2, bind))
            with self._changed:
                self._changed.wait_for(lambda: key in self._bound or key in self._refused, 5)
                if key in self._bound:
                    return self.token(lease, slot)
                # A slot whose last process is not reaped yet refuses; bound again until it is.
                refused = self._refused.pop(key, "no answer")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the slot cannot be bound: {refused}")
            time.sleep(0.1)

    def revoke(self, slot: int = 0) -> None:
        """Ends whatever the slot serves; the next bind waits until it is free."""
        self._commands.put(_field(3, _field(1, slot) + _field(2, self.epochs[slot]) + _field(3, "Revoked")))

    def token(self, lease: str, slot: int = 0, attach: bool = False) -> str:
        slots = [{"slot": slot, "epoch": self.epochs[slot]}]
        return self.signer.token("lease+jwt", 300, aud=self.machine, lease=lease, slots=slots, attach=attach)

    def endpoints(self, slot: int = 0) -> list[dict[str, str]]:
        return [{"kind": "unix", "address": self.path(f"slot{slot}.sock"), "tls": "none"}]

    def bound_endpoints(self, slot: int = 0) -> list[dict[str, str]]:
        """What the agent said of the slot's last bind, as a control plane hands it on."""
        names = {1: "kind", 2: "address", 3: "tls"}
        bound = self._bound[slot, self.epochs[slot]]
        return [
            {names[field]: value.decode() for field, value in _fields(one) if isinstance(value, bytes)}
            for number, one in _fields(bound)
            if number == 4 and isinstance(one, bytes)
        ]

    def children(self) -> list[int]:
        """Process ids of the executors."""
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def stop(self) -> None:
        self._commands.put(None)
        self._channel.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()
