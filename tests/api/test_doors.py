"""No route answers a stranger, and none answers who has no role, but those that are open by design: all of them are listed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from caller import Caller
from documents import documents
from stack import Stack

METHODS = ("get", "post", "put", "patch", "delete")
# What anybody may ask: whether the server lives, what it is, and what is needed to judge and to get its tokens (docs/roles.md, docs/login.md).
OPEN = [
    "/livez",
    "/readyz",
    "/healthz",
    "/version",
    "/version/",
    "/openid/v1/jwks",
    "/.well-known/openid-configuration",
    "/.well-known/torch-remote-login",
]
# What every caller with a token may read: which kinds there are (ClusterRole system:discovery).
DISCOVERY = [
    "/api",
    "/apis",
    "/api/v1",
    "/apis/torchremote.dev",
    "/apis/torchremote.dev/v1alpha1",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/apis/torchremote.dev/v1alpha1",
]
PLACE = "namespaces/default"
REVIEWS = "/apis/authorization.k8s.io/v1"
# What every caller with a token may ask about itself (ClusterRole system:basic-user).
ONESELF = [
    ("post", f"{REVIEWS}/selfsubjectaccessreviews"),
    ("post", f"{REVIEWS}/selfsubjectrulesreviews"),
    ("post", "/apis/authentication.k8s.io/v1/selfsubjectreviews"),
]
# Routes that no document describes and that take a role.
UNDOCUMENTED = [
    ("get", "/metrics"),
    ("get", "/api/v1/services"),
    ("get", f"/api/v1/{PLACE}/services"),
    ("get", f"/api/v1/{PLACE}/services/x"),
    ("post", f"/api/v1/{PLACE}/serviceaccounts/x/token"),
    ("post", f"/apis/torchremote.dev/v1alpha1/{PLACE}/deviceleases/x/token"),
    ("post", f"/apis/torchremote.dev/v1alpha1/{PLACE}/deviceleases/x/renew"),
    ("post", "/apis/authentication.k8s.io/v1/tokenreviews"),
    ("post", f"{REVIEWS}/subjectaccessreviews"),
    ("post", f"{REVIEWS}/{PLACE}/localsubjectaccessreviews"),
    ("get", "/no/such/path"),
    ("post", "/"),
]


def documented(administrator: Caller) -> list[tuple[str, str]]:
    """Method and URL of everything that a document describes."""
    paths = [entry for document in documents(administrator).values() for entry in document["paths"].items()]
    return [
        (method, path.replace("{namespace}", "default").replace("{name}", "x"))
        for path, operations in paths
        for method in METHODS
        if method in operations
    ]


@pytest.fixture(scope="module")
def nobody(server: Stack) -> Caller:
    """Has a token and no role."""
    server.run("kubectl", "create", "serviceaccount", "nobody")
    token = server.run("kubectl", "create", "token", "nobody").stdout
    path = Path(server.folder / "nobody")
    path.write_text(token)
    return Caller(server, path)


def test_every_route_refuses_a_stranger(server: Stack, administrator: Caller) -> None:
    routes = documented(administrator)
    assert len(routes) > 130, "the documents describe what there is"
    stranger = Caller(server, None)
    for method, url in [*routes, *UNDOCUMENTED, *ONESELF, *(("get", url) for url in DISCOVERY)]:
        answer = stranger.send(method.upper(), url)
        assert (answer.code, answer.json["reason"]) == (401, "Unauthorized"), str(answer)
    for wrong in ("Bearer x", "Bearer", "Basic YTpi", "Bearer a.b.c", "bearer \xff"):
        answer = stranger.send("GET", "/api/v1/namespaces", {"Authorization": wrong.encode("latin-1")})  # type: ignore[dict-item]
        assert (answer.code, answer.json["reason"]) == (401, "Unauthorized"), f"{wrong}: {answer}"


def test_every_route_refuses_who_has_no_role(nobody: Caller, administrator: Caller) -> None:
    for method, url in [*documented(administrator), *UNDOCUMENTED]:
        answer = nobody.send(method.upper(), url)
        assert (answer.code, answer.json["reason"]) == (403, "Forbidden"), str(answer)
        assert "system:serviceaccount:default:nobody" in answer.json["message"]
    watched = nobody.send("GET", "/api/v1/namespaces?watch=true&timeoutSeconds=1")
    assert watched.code == 403


def test_what_is_open_is_open(server: Stack, nobody: Caller) -> None:
    stranger = Caller(server, None)
    login = "/.well-known/torch-remote-login"
    for url in OPEN:
        answer = stranger.send("GET", url)
        # Nobody logs in where no issuer is configured; that is told to anybody.
        assert answer.code == (404 if url == login else 200), str(answer)
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            assert stranger.send(method, url).code == 405
    for url in DISCOVERY:
        assert nobody.send("GET", url).code == 200
    for method, url in ONESELF:
        answer = nobody.send(method.upper(), url, json={"spec": {"namespace": "default"}})
        assert answer.code not in (401, 403), str(answer)
