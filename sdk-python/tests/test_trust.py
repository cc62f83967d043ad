"""An endpoint's key is checked before anything is sent: pinned, by a bundle, or by the system."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import agent_fixture
import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stack import eventually
from torch_remote import _C, _acquisition, _leases


class Relay:
    """Ends TLS on loopback and passes the bytes on to a slot's Unix socket."""

    def __init__(self, target: str, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "executor")])
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .sign(key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.pin = base64.b64encode(hashlib.sha256(public).digest()).decode()
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "relay.pem").write_bytes(private + self.pem.encode())
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "relay.pem")
        self._context.set_alpn_protocols(["h2"])
        self._target = target
        self.passed = 0
        self.port = 0
        self.start()
        self.address = f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listens, at the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            secured = self._context.wrap_socket(plain, server_side=True)
        except (ssl.SSLError, OSError):
            return  # The client did not trust us.
        inside = socket.socket(socket.AF_UNIX)
        inside.connect(self._target)
        threading.Thread(target=self._pump, args=(inside, secured), daemon=True).start()
        self._pump(secured, inside)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self.passed += len(data)
                sink.sendall(data)
        except OSError:
            pass  # One side closed: so does the other.
        for end in (source, sink):
            end.close()

    def stop(self) -> None:
        """Refuses connections from now on; those that are open stay."""
        self._listener.shutdown(socket.SHUT_RDWR)  # Else the thread in accept() would take one more.
        self._listener.close()


@pytest.fixture(scope="module")
def agent() -> Iterator[agent_fixture.Agent]:
    running = agent_fixture.Agent(agent_fixture.binary())
    yield running
    running.stop()


@pytest.fixture
def relay(agent: agent_fixture.Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    monkeypatch.setattr(_leases, "ensure_lease", lambda: None)
    running = Relay(agent.path("slot0.sock"), tmp_path)
    yield running
    running.stop()
    agent.revoke()


def _open(agent: agent_fixture.Agent, relay: Relay, tls: str) -> int:
    lease = f"lease-{os.urandom(4).hex()}"
    endpoints = [{"kind": "tcp", "address": relay.address, "tls": tls}]
    return _C.open_session(endpoints, agent.bind(lease), False, lease, f"test/{lease}", open_timeout=2.0)


@pytest.mark.parametrize("trust", ["pin", "bundle"])
def test_the_key_that_is_named_is_trusted(agent: agent_fixture.Agent, relay: Relay, trust: str) -> None:
    index = _open(agent, relay, f"spkiSHA256:{relay.pin}" if trust == "pin" else f"caBundle:{relay.pem}")
    try:
        large = torch.arange(1_000_000)
        assert torch.equal((large.to(f"remote:{index}") + 1).cpu(), large + 1)
    finally:
        _C.close_session(index, True)


def test_a_port_that_refuses_for_a_while_ends_no_session(agent: agent_fixture.Agent, relay: Relay) -> None:
    index = _open(agent, relay, f"spkiSHA256:{relay.pin}")
    try:
        x = torch.ones(3, device=f"remote:{index}")
        torch.remote.synchronize(index)
        relay.stop()
        _C._cut(index, 0)
        eventually(lambda: _C.device_state(index)[0] == "Reconnecting", 10, "the connection is gone")
        # Longer than the 2 s after which a Unix socket that nobody listens at means that the agent is gone.
        until = time.monotonic() + 4
        while time.monotonic() < until:
            assert _C.device_state(index)[0] == "Reconnecting"
            time.sleep(0.05)
        relay.start()
        assert (x + 1).sum().item() == 6
    finally:
        _C.close_session(index, True)


@pytest.mark.parametrize("trust", ["pin", "system"])
def test_another_key_is_refused_before_anything_is_sent(agent: agent_fixture.Agent, relay: Relay, trust: str) -> None:
    other = base64.b64encode(hashlib.sha256(b"another").digest()).decode()
    with pytest.raises(RuntimeError, match=r"cannot be opened.*(key is not the one|certificate)"):
        _open(agent, relay, f"spkiSHA256:{other}" if trust == "pin" else "system")
    assert relay.passed == 0


@pytest.mark.parametrize("tls", ["spkiSHA256:short", "caBundle:nothing", "magic"])
def test_trust_that_cannot_be_used_is_named(agent: agent_fixture.Agent, relay: Relay, tls: str) -> None:
    with pytest.raises(ValueError, match="trust"):
        _open(agent, relay, tls)


def test_a_lease_is_reached_by_its_unix_socket_here_and_by_its_pinned_port_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_leases, "ensure_lease", lambda: None)
    agent = agent_fixture.Agent(agent_fixture.binary(), public="127.0.0.1")
    try:
        token = agent.bind("elsewhere")
        near, far = agent.bound_endpoints()
        assert _acquisition.reachable([near, far]) == [near]
        gone = {**near, "address": near["address"] + ".elsewhere"}
        assert _acquisition.reachable([gone, far]) == [far]
        assert _acquisition.reachable([gone]) == [gone], "the core says why it cannot be reached"
        index = _C.open_session(_acquisition.reachable([gone, far]), token, False, "elsewhere", "test/elsewhere")
        large = torch.arange(1_000_000)
        assert torch.equal((large.to(f"remote:{index}") + 1).cpu(), large + 1)
        _C.close_session(index, True)
    finally:
        agent.stop()
