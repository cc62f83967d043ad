"""A control plane to send anything to: two objects of each kind, made again when a request has removed them."""

from __future__ import annotations

import itertools
from typing import Any

from schemathesis import Case
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from aim import LATEST, NAMES, SHELF, SPACE
from caller import Caller
from documents import EXAMPLES
from judge import Answer

RBAC = "rbac.authorization.k8s.io"
OURS = "torchremote.dev/v1alpha1"
ROLE = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "viewer"}
MACHINE = {"provider": SHELF, "gpu": {"type": "CPU"}}
# Of each kind that can be written: apiVersion, kind, what it is made of, and whether it is in a namespace.
KINDS: dict[str, tuple[str, str, dict[str, Any], bool]] = {
    "namespaces": ("v1", "Namespace", {}, False),
    "secrets": ("v1", "Secret", {"data": {"a": "Yg=="}}, True),
    "serviceaccounts": ("v1", "ServiceAccount", {}, True),
    "events": ("v1", "Event", {"involvedObject": {"kind": "Secret", "name": "one", "namespace": SPACE}}, True),
    "clusterroles": (f"{RBAC}/v1", "ClusterRole", {"rules": []}, False),
    "roles": (f"{RBAC}/v1", "Role", {"rules": []}, True),
    "clusterrolebindings": (f"{RBAC}/v1", "ClusterRoleBinding", {"roleRef": ROLE}, False),
    "rolebindings": (f"{RBAC}/v1", "RoleBinding", {"roleRef": ROLE}, True),
    "providers": (OURS, "Provider", {"spec": {"type": "Static"}}, False),
    "remotemachines": (OURS, "RemoteMachine", {"spec": MACHINE}, True),
    "machinepools": (
        OURS,
        "MachinePool",
        {"spec": {"replicas": {"min": 0, "max": 2}, "template": {"spec": MACHINE}}},
        True,
    ),
    "deviceleases": (OURS, "DeviceLease", {"spec": {"gpu": [{"type": "CPU"}]}}, True),
    "gpuquotas": (OURS, "GPUQuota", {"spec": {"gpus": [{"type": "T4", "nominal": 2}]}}, True),
}
PLAIN = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf,application/json"
# Taken in turn; what is `None` is not sent.
ACCEPT = [None, PLAIN, TABLE, None, METADATA, PLAIN, PROTOBUF, None, PLAIN, "text/html", None]


class World:
    """What requests are sent to."""

    def __init__(self, caller: Caller) -> None:
        self.caller, self.numbers, self.turn = caller, itertools.count(), itertools.count()
        self.space = ""
        self.prepared: object = None
        self.codes: dict[int, int] = {}
        self.last = ""
        self.make("providers", SHELF)
        self.settle()

    # ---- objects

    def make(self, plural: str, name: str) -> Answer:
        """Makes an object, unless it is there."""
        version, kind, content, namespaced = KINDS[plural]
        place = f"/namespaces/{self.space}" if namespaced else ""
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        body = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **content}
        if plural == "events":
            body["involvedObject"] = {**content["involvedObject"], "namespace": self.space}
        return self.caller.send("POST", f"{root}{place}/{plural}", json=body)

    def settle(self) -> None:
        """Another namespace: the one before is gone, or on its way."""
        self.space = f"{SPACE}-{next(self.numbers)}"
        assert self.make("namespaces", self.space).code == 201

    def prepare(self, plural: str) -> None:
        """Sees to it that there is something of that kind."""
        if plural not in KINDS:
            return
        for name in NAMES:
            answer = self.make(plural, name)
            if answer.code in (403, 404) and KINDS[plural][3]:
                self.settle()
                answer = self.make(plural, name)
            assert answer.code in (201, 409), str(answer)

    # ---- requests

    @property
    def sent(self) -> int:
        """How many requests were answered."""
        return sum(self.codes.values())

    def send(self, case: Case) -> Answer:
        """Sends what was generated, and judges the answer; where it is wrong, shows what was sent."""
        try:
            return self.exchange(case)
        except BaseException:
            print(self.last)
            raise

    def exchange(self, case: Case) -> Answer:
        plural = (
            case.operation.path.replace("/{name}", "").replace("/status", "").replace("/scale", "").rsplit("/", 1)[-1]
        )
        if self.prepared != case.operation.label:
            self.prepared = case.operation.label
            self.prepare(plural)
        self.place(case)
        request = case.as_transport_kwargs(base_url=self.caller.server)
        accept = ACCEPT[next(self.turn) % len(ACCEPT)]
        headers = {**request.pop("headers"), **({"Accept": accept} if accept else {})}
        method, url = request.pop("method"), request.pop("url")
        self.last = f"{method} {url} {headers} {request}"
        answer = self.caller.send(method, url, headers, **request)
        self.last = f"{self.last}: {answer}"
        response = self.caller.last
        self.codes[answer.code] = self.codes.get(answer.code, 0) + 1
        named = (case.path_parameters or {}).get("name")
        lost = answer.code == 404 and named in (None, *NAMES)
        if lost or (EXAMPLES and answer.code in (404, 409)) or (method == "DELETE" and answer.code < 300):
            self.prepare(plural)
        if answer.code < 400 and accept in (None, PLAIN) and method.lower() == case.operation.method and answer.body:
            checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
            case.validate_response(response, checks=checks)
        return answer

    def place(self, case: Case) -> None:
        """Puts in what stands for things of this world."""
        parameters = case.path_parameters or {}
        if parameters.get("namespace") == SPACE:
            parameters["namespace"] = self.space
        metadata = case.body.get("metadata") if isinstance(case.body, dict) else None
        if not isinstance(metadata, dict):
            return
        if "name" in parameters:
            metadata.setdefault("name", parameters["name"])
        else:
            metadata.setdefault("name", f"made-{next(self.numbers)}")
        if metadata.get("resourceVersion") == LATEST and case.method != "PUT":
            del metadata["resourceVersion"]
        elif metadata.get("resourceVersion") == LATEST:
            there = self.caller.send("GET", self.caller.server + case.formatted_path).json or {}
            metadata["resourceVersion"] = there.get("metadata", {}).get("resourceVersion", "1")
