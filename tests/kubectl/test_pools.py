"""Pools and quotas, and the definitions of our kinds that tools look for."""

from __future__ import annotations

from typing import Any

from driver import GROUP, Kubectl, machine
from stack import eventually

TITLE = "machinepool.torchremote.dev"


def pool(name: str, least: int) -> dict[str, Any]:
    """Keeps so many machines that fail at once."""
    spec = {"replicas": {"min": least, "max": 5}, "template": {"spec": machine(name)["spec"]}}
    return {"apiVersion": GROUP, "kind": "MachinePool", "metadata": {"name": name}, "spec": spec}


def machines(kubectl: Kubectl, name: str) -> list[str]:
    return kubectl("get", "machines", "-l", f"torchremote.dev/pool={name}", "-o", "name").split()


def test_a_pool_is_scaled_and_takes_its_machines_with_it(kubectl: Kubectl) -> None:
    assert kubectl("apply", "-f", "-", given=pool("train", 1)) == f"{TITLE}/train created\n"
    eventually(lambda: len(machines(kubectl, "train")) == 1, 30, "it has one machine", 0.3)
    assert kubectl("scale", "machinepool/train", "--replicas=3") == f"{TITLE}/train scaled\n"
    assert kubectl("get", "machinepool", "train", "-o", "jsonpath={.spec.replicas.min}") == "3"
    eventually(lambda: len(machines(kubectl, "train")) == 3, 30, "it has three", 0.3)
    expected = kubectl.refused("scale", "machinepool/train", "--current-replicas=1", "--replicas=2")
    assert "Expected replicas to be 1, was 3" in expected
    shown = kubectl("get", "machinepool", "train", "--subresource=scale", "-o", "jsonpath={.kind} {.spec.replicas}")
    assert shown == "Scale 3"
    assert kubectl("scale", "machinepools", "--all", "--replicas=0") == f"{TITLE}/train scaled\n"
    kubectl("scale", "machinepool/train", "--replicas=2")
    kubectl("delete", "machinepool", "train", "--cascade=foreground", "--timeout=50s")
    assert machines(kubectl, "train") == []


def test_the_definitions_of_our_kinds_are_there_to_read(kubectl: Kubectl) -> None:
    names = kubectl("get", "crds", "-o", "name").split()
    assert "customresourcedefinition.apiextensions.k8s.io/remotemachines.torchremote.dev" in names
    kind = "{.spec.names.kind} {.spec.versions[0].name} {.status.conditions[?(@.type=='Established')].status}"
    shown = kubectl("get", "crd", "remotemachines.torchremote.dev", "-o", f"jsonpath={kind}")
    assert shown == "RemoteMachine v1alpha1 True"
    assert "Established" in kubectl("describe", "crd", "machinepools.torchremote.dev")
    waited = kubectl("wait", "crd/remotemachines.torchremote.dev", "--for=condition=Established", "--timeout=30s")
    assert waited.endswith("condition met\n")


def test_a_quota_says_that_it_is_not_enforced_yet(kubectl: Kubectl) -> None:
    quota = {
        "apiVersion": GROUP,
        "kind": "GPUQuota",
        "metadata": {"name": "team"},
        "spec": {"gpus": [{"type": "T4", "nominal": 2}]},
    }
    applied = kubectl.run("apply", "-f", "-", given=quota)
    assert applied.returncode == 0, applied.stderr
    kubectl("wait", "gpuquota/team", "--for=condition=Enforced=False", "--timeout=30s")


def test_a_set_of_manifests_is_pruned_of_what_left_it(kubectl: Kubectl) -> None:
    def apply(*names: str) -> str:
        items = {"apiVersion": "v1", "kind": "List", "items": [machine(name) for name in names]}
        words = ("apply", "--prune", "--applyset=fleet", "-f", "-")
        return kubectl(*words, given=items, KUBECTL_APPLYSET="true")

    assert apply("a", "b").count("created") == 2
    assert "remotemachine.torchremote.dev/b pruned\n" in apply("a")
    assert kubectl("get", "machines", "-o", "name").split() == ["remotemachine.torchremote.dev/a"]
    assert "fleet" in kubectl("get", "secrets", "-o", "name")
