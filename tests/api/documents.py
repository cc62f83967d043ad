"""The server's OpenAPI documents, and how long to look at what they describe."""

from __future__ import annotations

import os
from typing import Any

from caller import Caller

# For a long look: FUZZ_EXAMPLES=1000 FUZZ_SEED=7 pytest tests/api (CONTRIBUTING.md)
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
SHORT = 8
# Group and version of each document there must be.
DOCUMENTS = [
    "api/v1",
    "apis/apiextensions.k8s.io/v1",
    "apis/events.k8s.io/v1",
    "apis/rbac.authorization.k8s.io/v1",
    "apis/torchremote.dev/v1alpha1",
]


def documents(caller: Caller) -> dict[str, Any]:
    """By group and version."""
    index = caller.send("GET", "/openapi/v3").json["paths"]
    return {name: caller.send("GET", entry["serverRelativeURL"]).json for name, entry in index.items()}
