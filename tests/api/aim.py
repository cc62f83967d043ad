"""Turns the server's documents into ones whose random requests go further than to 404 and 400.

The documents leave open which objects there are and what texts mean something; here names are those of objects that exist, bodies are of their kind, patches
are of each notation. Answers are described as they were. What is generated to be wrong is wrong against this.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import schemathesis
from hypothesis import strategies as st

from documents import EXAMPLES

SPACE = "fuzz"  # stands for the namespace in use
NAMES = ["one", "two"]  # of each kind there is one of each name
LATEST = "latest"  # stands for the version that an object has
SHELF = "shelf"  # a provider whose machines fail at once
META = "io.k8s.apimachinery.pkg.apis.meta.v1"

Schema = dict[str, Any]

# Texts of our own formats.
# JSON Schema has another format `duration` (ISO 8601) than Kubernetes, whose is Go's: here it has another name.
DURATION = "go-duration"
schemathesis.openapi.format(DURATION, st.sampled_from(["90s", "15m", "8h", "1h30m", "0s", "-1s", "1d", "720h"]))
schemathesis.openapi.format("money", st.sampled_from(["0", "1.50", "-1", "7.123456", "1e9", "999999999999999999"]))
schemathesis.openapi.format(
    "quantity", st.sampled_from(["1", "500m", "32Gi", "-1", "1E", "1e3", "0.1", "9223372036854775808"])
)
for name in ("name", "namespace", "namespace-or-star"):
    schemathesis.openapi.format(name, st.sampled_from([*NAMES, "default", "none", "*", "UPPER", "a.b", "-", "x" * 64]))


def some(*values: object) -> Schema:
    """One of these, or any text."""
    return {"anyOf": [{"type": "string", "enum": list(values)}, {"type": "string", "maxLength": 40}]}


def enumerated(*values: object) -> Schema:
    """One of these."""
    return {"type": "string", "enum": list(values)}


QUERY = {
    "continue": some("eyJ2IjoxfQ", "e30", "bnVsbA"),
    "dryRun": some("All"),
    "fieldManager": some("fuzz", "kubectl"),
    "fieldSelector": some(
        "metadata.name=one",
        "metadata.name!=one",
        "metadata.namespace=fuzz",
        "status.phase=Ready",
        "spec.x=1",
        "a=b,c",
        "=",
    ),
    "fieldValidation": some("Strict", "Warn", "Ignore"),
    "labelSelector": some("a=b", "a!=b", "a in (b,c)", "a notin (b)", "!a", "a", "a in (", "a>1", ",", "x/y/z=1"),
    "propagationPolicy": some("Background", "Foreground", "Orphan"),
    "resourceVersion": {"type": "string", "enum": ["", "0", "1", "00", "-1", "x", "18446744073709551616"]},
    "resourceVersionMatch": some("Exact", "NotOlderThan"),
}
KEYS = enumerated("a", "example.com/a", "torchremote.dev/x")
TEXTS = {
    "type": "object",
    "propertyNames": KEYS,
    "additionalProperties": enumerated("", "b", "x-1"),
    "maxProperties": 2,
}
METADATA: Schema = {
    "type": "object",
    "properties": {
        "labels": TEXTS,
        "annotations": TEXTS,
        "finalizers": {"type": "array", "maxItems": 1, "items": enumerated("example.com/a", "foregroundDeletion")},
        "generateName": enumerated("made-"),
        "resourceVersion": enumerated(LATEST, ""),
        "ownerReferences": {
            "type": "array",
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["apiVersion", "kind", "name", "uid"],
                "properties": {
                    "apiVersion": enumerated("v1"),
                    "kind": enumerated("Secret"),
                    "name": enumerated(*NAMES),
                    "uid": enumerated("00000000-0000-4000-8000-000000000000"),
                    "controller": {"type": "boolean"},
                    "blockOwnerDeletion": {"type": "boolean"},
                },
            },
        },
        "managedFields": {
            "type": "array",
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["manager", "operation", "apiVersion", "fieldsType"],
                "properties": {
                    "manager": enumerated("fuzz"),
                    "operation": enumerated("Apply", "Update"),
                    "apiVersion": enumerated("v1", "torchremote.dev/v1alpha1"),
                    "time": {"type": "string", "format": "date-time"},
                    "fieldsType": enumerated("FieldsV1"),
                    "fieldsV1": {
                        "type": "object",
                        "propertyNames": enumerated("f:spec", "f:metadata", "."),
                        "additionalProperties": {"type": "object", "maxProperties": 0},
                    },
                    "subresource": enumerated("status", ""),
                },
            },
        },
        "generation": {"type": "integer"},
        "creationTimestamp": {"type": "string", "format": "date-time"},
        "deletionTimestamp": {"type": "string", "format": "date-time"},
    },
}
# A short look goes into the depths of metadata, and into all that a list may be asked, at one kind of each group.
DEEP = ("Secret", "ClusterRole", "RemoteMachine")
PLAIN = {
    "type": "object",
    "properties": {name: METADATA["properties"][name] for name in ("labels", "finalizers", "resourceVersion")},
}
ASKED = ("labelSelector", "fieldSelector", "limit", "watch")
POINTER = some(
    "/spec",
    "/metadata/labels/a",
    "/metadata/labels",
    "/metadata/name",
    "/status",
    "/kind",
    "",
    "/",
    "/spec/gpu/0",
    "/metadata/finalizers/-",
    "/~1~0",
    "/metadata/managedFields",
)
JSON_PATCH = {
    "type": "array",
    "maxItems": 3,
    "items": {
        "type": "object",
        "required": ["op", "path"],
        "properties": {
            "op": {"type": "string", "enum": ["add", "remove", "replace", "move", "copy", "test"]},
            "path": POINTER,
            "from": POINTER,
            "value": {},
        },
    },
}


def aim(document: Schema) -> Schema:
    """The document, aimed."""
    aimed = json.loads(json.dumps(document).replace('"format": "duration"', f'"format": "{DURATION}"'))
    schemas = aimed["components"]["schemas"]
    for path in aimed["paths"].values():
        for parameter in path.get("parameters", []):
            parameter["schema"] = {"type": "string", "enum": {"name": [*NAMES, "none"]}.get(parameter["name"], [SPACE])}
        for method, operation in path.items():
            if method != "parameters":
                aim_operation(method, operation, schemas)
    return aimed


def aim_operation(method: str, operation: Schema, schemas: Schema) -> None:
    group, kind = (operation["x-kubernetes-group-version-kind"][name] for name in ("group", "kind"))
    deep = EXAMPLES or kind in DEEP
    if not deep and any(parameter["name"] == "watch" for parameter in operation["parameters"]):
        operation["parameters"] = [given for given in operation["parameters"] if given["name"] in ASKED]
    for parameter in operation["parameters"]:
        parameter["schema"] = QUERY.get(parameter["name"], parameter["schema"])
    content = operation.get("requestBody", {}).get("content", {})
    version = operation["x-kubernetes-group-version-kind"]["version"]
    for media_type, body in content.items():
        if method == "delete":
            continue
        if "json-patch" in media_type:
            body["schema"] = JSON_PATCH
            continue
        reference = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
        whole = method in ("post", "put") or "apply" in media_type
        own = copy.deepcopy(schemas[reference])
        own["properties"]["apiVersion"] = {"type": "string", "enum": [f"{group}/{version}" if group else version]}
        own["properties"]["kind"] = {"type": "string", "enum": [kind]}
        own["properties"]["metadata"] = METADATA if deep else PLAIN
        own.pop("required", None)
        if whole:
            own["required"] = [name for name in ("apiVersion", "kind", "metadata", "spec") if name in own["properties"]]
        name = f"{media_type}.{method}.{reference}".replace("/", "-")
        schemas[name] = own
        body["schema"] = {"$ref": f"#/components/schemas/{name}"}
