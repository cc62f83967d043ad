"""What no document describes: any path, method, query, header and body, byte by byte. Never a failure of the server, and a Status for every refusal."""

from __future__ import annotations

import itertools
import string

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from caller import Caller
from documents import EXAMPLES, SEED
from judge import Answer, approve

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get", "QUERY"]
OURS = "/apis/torchremote.dev/v1alpha1"
MACHINES = f"{OURS}/namespaces/default/remotemachines"
LEASES = f"{OURS}/namespaces/default/deviceleases"
PATHS = [
    "/",
    "//",
    "/*",
    "/api",
    "/api/",
    "/api//v1",
    "/api/v2",
    "/apis/none/v1",
    "/apis/torchremote.dev/v1/remotemachines",
    "/openapi/v3/apis/none",
    "/metrics",
    "/api/v1/services",
    "/api/v1/namespaces/default/services/x",
    "/api/v1/namespaces/default/serviceaccounts/x/token",
    "/api/v1/namespaces/%00",
    "/api/v1/namespaces/a%00b/secrets",
    "/api/v1/namespaces/%ff/secrets/%fe",
    "/api/v1/namespaces/%zz",
    "/api/v1/namespaces/%",
    "/api/v1/namespaces/%2e%2e/secrets",
    "/api/v1/namespaces/../secrets",
    "/api/v1/namespaces//secrets",
    "/api/v1/namespaces/default/secrets/",
    "/api/v1/namespaces/default/secrets/a%2fb",
    f"{MACHINES}/%F0%9F%98%80/status",
    f"{MACHINES}/x/scale",
    f"{MACHINES}/x/exec",
    f"{LEASES}/x/token",
    f"{LEASES}/x/renew",
    f"{OURS}/auditevents/x",
    f"{OURS}/namespaces/default/auditevents",
    f"{OURS}/namespaces/default/tensors/a:b",
    "/" + "a" * 8000,
    "/" + "a/" * 4000,
    f"{MACHINES}/" + "a" * 60_000,
]
QUERIES = [
    "",
    "?",
    "?&&==&",
    "?watch=%ff",
    "?watch=yes&timeoutSeconds=1",
    "?watch=1&timeoutSeconds=99999999999999999999",
    "?watch=1&timeoutSeconds=1&resourceVersion=-1",
    "?watch=1&timeoutSeconds=1&sendInitialEvents=true",
    "?resourceVersion=9223372036854775807&resourceVersionMatch=NotOlderThan",
    "?limit=-1",
    "?limit=9223372036854775808",
    "?limit=0.5",
    "?continue=%00",
    "?continue=" + "A" * 5000,
    "?fieldSelector=%3D%3D%3D",
    "?labelSelector=" + "a," * 3000,
    "?labelSelector=a%20in%20(" + "b," * 3000 + ")",
    "?fieldManager=" + "x" * 200,
    "?fieldManager=%01",
    "?dryRun=All&dryRun=Some",
    "?pretty=%c3",
    "?a[]=1&a[b]=2&%5B%5D=%",
]
HEADERS = [
    {"Accept": "*/*;q=0"},
    {"Accept": "application/json;as=Table;v=v9;g=meta.k8s.io"},
    {"Accept": "application/vnd.kubernetes.protobuf"},
    {"Accept": "a" * 60_000},
    {"Content-Type": "application/vnd.kubernetes.protobuf"},
    {"Content-Type": "text/plain"},
    {"Content-Type": ""},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Encoding": "gzip"},
    {"If-None-Match": "*,\xff,W/"},
    {"Impersonate-User": ""},
    {"Impersonate-User": "\xff"},
    {"Impersonate-Group": "system:masters"},
    {"Impersonate-User": "x", "Impersonate-Extra-%zz": "\x01".replace("\x01", " ")},
    {"Impersonate-Uid": "1"},
    {"traceparent": "00-" + "f" * 32 + "-" + "f" * 16 + "-ff"},
    {"traceparent": "\xff"},
    {"User-Agent": "\xff" * 300},
    {"X-Forwarded-For": "1.2.3.4, " * 3000},
    {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"},
    {"Expect": "100-continue"},
    {f"X-{number}": "y" for number in range(80)},
]
BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"0",
    b'"x"',
    b"\xff\xfe",
    b"\x00",
    b"k8s\x00",
    b"k8s\x00\x0a\xff\xff\xff\xff\x0f",
    b"k8s\x00\x12\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
    b"[" * 5000,
    b'{"a":' * 5000,
    b"a: &a [*a, *a]\n",
    b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
    b"--- 1\n--- 2\n",
    b"? {a: b}\n: c\n",
    b"!!binary aGk=",
    b'{"metadata": {"generation": 1e999}}',
    b'{"apiVersion": "v1", "kind": "Secret", "kind": "Secret"}',
    b'[{"op": "add", "path": "/metadata/labels/' + b"a/" * 2000 + b'", "value": 1}]',
    b'[{"op": "copy", "from": "", "path": "/spec/x"}]' * 2,
    b"[" + b",".join([b'{"op":"copy","from":"/spec","path":"/spec/x"}'] * 40) + b"]",
    b"{" + b" " * (4 << 20) + b"}",
]
TYPES = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
]


def ask(caller: Caller, method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
    """A request whose bytes are as given, on a connection of its own; judged."""
    fields = {
        "Host": "x",
        "Connection": "close",
        "Content-Length": str(len(body)),
        **caller.authorization(),
        **(headers or {}),
    }
    head = f"{method} {url} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return approve(caller.raw(head.encode("latin-1") + b"\r\n" + body))


@pytest.mark.parametrize("method", METHODS)
def test_any_path_and_query(administrator: Caller, method: str) -> None:
    whole = itertools.chain(
        ((path, "") for path in PATHS), ((path, query) for path in (MACHINES, "/api") for query in QUERIES)
    )
    # A short look reads all of it, and does else to every fifth, each method to others.
    step = 1 if EXAMPLES or method == "GET" else 5
    for path, query in itertools.islice(whole, METHODS.index(method) % step, None, step):
        ask(administrator, method, path + query)


def test_any_header(administrator: Caller) -> None:
    for headers, (method, url) in itertools.product(
        HEADERS,
        [
            ("GET", "/api"),
            ("GET", MACHINES),
            ("GET", f"{MACHINES}?watch=1&timeoutSeconds=1"),
            ("POST", MACHINES),
            ("GET", "/no"),
        ],
    ):
        ask(administrator, method, url, headers, b"{}" if method == "POST" else b"")


def test_any_body(administrator: Caller) -> None:
    places = [
        ("POST", MACHINES),
        ("PATCH", f"{MACHINES}/x"),
        ("PUT", f"{MACHINES}/x/status"),
        ("POST", "/api/v1/namespaces/default/secrets"),
        ("PATCH", "/api/v1/namespaces/default"),
        ("DELETE", f"{MACHINES}/x"),
        ("POST", "/api/v1/namespaces/default/serviceaccounts/x/token"),
        ("POST", f"{LEASES}/x/token"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"),
    ]
    for (place, (method, url)), (number, body) in itertools.product(enumerate(places), enumerate(BODIES)):
        # A short look sends each as each at two places, and elsewhere as one after another.
        whole = EXAMPLES or place < 2
        for kind in TYPES if whole else [TYPES[(place + number) % len(TYPES)]]:
            if len(body) < 1 << 20 or (kind == TYPES[0] and url == MACHINES):
                sent = {"Content-Type": kind}
                answer = administrator.send(method, f"{url}?dryRun=All&fieldManager=x", sent, data=body)
                assert answer.code >= 400 or method in ("PATCH", "DELETE"), str(answer)


def test_what_is_not_http_is_refused_without_a_failure(administrator: Caller) -> None:
    """The one case without a Status: what cannot be read as a request at all."""
    token = administrator.authorization()["Authorization"].encode()
    common = b"Host: x\r\nConnection: close\r\nAuthorization: " + token + b"\r\n"
    for request in (
        b"GET\r\n\r\n",
        b"GET /api HTTP/9.9\r\n\r\n",
        b"GET /api v1 HTTP/1.1\r\n" + common + b"\r\n",
        b"GET /\x01 HTTP/1.1\r\n" + common + b"\r\n",
        b"GET /api?a=<> HTTP/1.1\r\n" + common + b"\r\n",
        b"GET /api?a=\xc3 HTTP/1.1\r\n" + common + b"\r\n",
        b"GET /api HTTP/1.1\r\n" + common + b"Na me: x\r\n\r\n",
        b"GET /api HTTP/1.1\r\n" + common + b"A: \x00\r\n\r\n",
        b"GET /api HTTP/1.1\r\n" + common + b"A: " + b"x" * 600_000 + b"\r\n\r\n",
        b"GET /api HTTP/1.1\r\n" + common + b"".join(b"A-%d: x\r\n" % number for number in range(2000)) + b"\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + common + b"\r\n",
        b"POST /api HTTP/1.1\r\n" + common + b"Content-Length: -1\r\n\r\n",
        b"POST /api HTTP/1.1\r\n" + common + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /api HTTP/1.1\r\n" + common + b"Transfer-Encoding: nonsense\r\n\r\n",
    ):
        answer = administrator.raw(request)
        assert 400 <= answer.code < 500, str(answer)
        assert not answer.body or approve(answer)


# What RFC 3986 allows in a part of a path; the rest is no request.
URL = string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@%"
SEGMENTS = st.one_of(
    st.sampled_from(
        [
            "api",
            "apis",
            "v1",
            "v1alpha1",
            "torchremote.dev",
            "namespaces",
            "default",
            "remotemachines",
            "secrets",
            "x",
            "status",
            "scale",
            "token",
            "openapi",
            "v3",
            "..",
            ".",
            "",
        ]
    ),
    st.binary(min_size=1, max_size=8).map(lambda raw: "".join(f"%{byte:02x}" for byte in raw)),
    st.text(URL, max_size=12),
)
QUERY = st.text(URL + "/?", max_size=30)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
NAMES = st.sampled_from(
    [
        "Accept",
        "Content-Type",
        "If-None-Match",
        "Impersonate-User",
        "Impersonate-Extra-a",
        "traceparent",
        "User-Agent",
        "Cookie",
        "Range",
    ]
)


@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_any_request_line_and_headers(administrator: Caller) -> None:
    @seed(SEED)
    @settings(
        max_examples=EXAMPLES or 300,
        database=None,
        deadline=None,
        phases=[Phase.generate, *([Phase.shrink] if EXAMPLES else [])],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.sampled_from(METHODS),
        st.lists(SEGMENTS, max_size=8),
        QUERY,
        st.dictionaries(NAMES, VALUES, max_size=3),
        st.sampled_from(BODIES[:12]),
    )
    def sends(method: str, segments: list[str], query: str, headers: dict[str, str], body: bytes) -> None:
        if method != "DELETE":
            ask(administrator, method, "/" + "/".join(segments) + "?timeoutSeconds=1&" + query, headers, body)

    sends()
