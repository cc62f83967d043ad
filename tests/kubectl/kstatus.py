"""How kstatus reads an object: the rules by which Flux, `kubectl apply` through cli-utils and others wait for what they applied.

After `Compute` of sigs.k8s.io/cli-utils, pkg/kstatus/status: `status.go` (order, Ready), `generic.go` (deletion, generation, Reconciling, Stalled) and
`core.go` (kinds with rules of their own, of which this server has Secret, Service and CustomResourceDefinition).
"""

from __future__ import annotations

from typing import Any

IN_PROGRESS, FAILED, CURRENT = "InProgress", "Failed", "Current"
TERMINATING, NOT_FOUND = "Terminating", "NotFound"


def compute(thing: dict[str, Any] | None) -> str:
    """The status of an object; None is one that is not there."""
    if thing is None:
        return NOT_FOUND
    return generic(thing) or of_kind(thing) or by_ready(thing) or CURRENT


def conditions(thing: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Type, status and reason of each condition, in order."""
    found = (thing.get("status") or {}).get("conditions") or []
    return [(one["type"], one["status"], one.get("reason", "")) for one in found]


def generic(thing: dict[str, Any]) -> str | None:
    """`checkGenericProperties`: what needs no knowledge of the kind."""
    if thing["metadata"].get("deletionTimestamp"):
        return TERMINATING
    generation = thing["metadata"].get("generation")
    observed = (thing.get("status") or {}).get("observedGeneration")
    if generation is not None and observed is not None and observed != generation:
        return IN_PROGRESS
    # The first of the two that is true decides.
    for kind, status, _ in conditions(thing):
        if status == "True" and kind in ("Reconciling", "Stalled"):
            return IN_PROGRESS if kind == "Reconciling" else FAILED
    return None


def of_kind(thing: dict[str, Any]) -> str | None:
    """`GetLegacyConditionsFn`, for the kinds that this server has."""
    group = thing["apiVersion"].rpartition("/")[0]
    if (group, thing["kind"]) in (("", "Secret"), ("", "Service")):
        return CURRENT
    if (group, thing["kind"]) != ("apiextensions.k8s.io", "CustomResourceDefinition"):
        return None
    for kind, status, reason in conditions(thing):
        if kind == "NamesAccepted" and status == "False":
            return FAILED
        if kind == "Established" and status == "False" and reason != "Installing":
            return FAILED
        if kind == "Established" and status == "True":
            return CURRENT
    return IN_PROGRESS


def by_ready(thing: dict[str, Any]) -> str | None:
    """`checkReadyCondition`: what most kinds have."""
    for kind, status, _ in conditions(thing):
        if kind == "Ready" and status in ("True", "False", "Unknown"):
            return CURRENT if status == "True" else IN_PROGRESS
    return None
