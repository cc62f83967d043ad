"""How kubectl waits and deletes."""

from __future__ import annotations

from driver import GROUP, Kubectl, machine
from stack import eventually

TITLE = "remotemachine.torchremote.dev"


def test_a_wait_ends_with_its_condition(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", given=machine("box"))
    met = f"{TITLE}/box condition met\n"
    assert kubectl("wait", "machine/box", "--for=condition=Failed", "--timeout=30s") == met
    assert kubectl("wait", "machine/box", "--for=condition=Ready=False", "--timeout=30s") == met
    assert kubectl("wait", "machine/box", "--for=jsonpath={.status.phase}=Failed", "--timeout=30s") == met
    assert kubectl("wait", "machine/box", "--for=jsonpath={.status.conditions}", "--timeout=30s") == met
    assert kubectl("wait", "machine", "--all", "--for=condition=failed", "--timeout=30s") == met
    assert "timed out waiting for the condition on remotemachines/box" in kubectl.refused(
        "wait", "machine/box", "--for=condition=Ready", "--timeout=1s"
    )
    missing = kubectl.refused("wait", "machine/nobody", "--for=condition=Ready", "--timeout=1s")
    assert '"nobody" not found' in missing
    # As client-go does it from 0.35 on.
    streamed = kubectl.run(
        "wait", "machine/box", "--for=condition=Failed", "--timeout=20s", KUBE_FEATURE_WatchListClient="true"
    )
    assert (streamed.returncode, streamed.stderr) == (0, "")


def test_a_real_machine_is_waited_for_until_it_is_ready(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=machine("real", provider="local", cpu="1"))
    met = f"{TITLE}/real condition met\n"
    assert kubectl("wait", "machine/real", "--for=condition=Ready", "--timeout=55s") == met
    row = kubectl("get", "machine", "real", "--no-headers").split()
    assert row[:5] == ["real", "local", "CPU", "Ready", "True"]
    assert "Launched" in kubectl("events", "--for", "remotemachine/real")
    assert kubectl("get", "devices", "-o", "name").startswith("device.torchremote.dev/")
    kubectl("delete", "machine", "real", "--timeout=55s")


def test_a_wait_sees_an_object_go_and_come(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", given=machine("box"))
    going = kubectl.start("wait", "machine/box", "--for=delete", "--timeout=40s")
    kubectl("delete", "machine", "box")
    assert going.finish()[0] == 0
    assert kubectl.run("wait", "machine/box", "--for=delete", "--timeout=5s").returncode == 0, "gone is gone"
    coming = kubectl.start("wait", "machine/late", "--for=create", "--timeout=40s")
    kubectl("create", "-f", "-", given=machine("late"))
    assert coming.finish()[0] == 0


def test_deleted_objects_are_gone_when_kubectl_returns(kubectl: Kubectl) -> None:
    items = [
        machine(name, {"team": team}) for name, team in [("a", "x"), ("b", "x"), ("c", "y"), ("d", "y"), ("e", "z")]
    ]
    kubectl("create", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": items})

    def left() -> list[str]:
        return kubectl("get", "machines", "-o", "jsonpath={.items[*].metadata.name}").split()

    assert kubectl("delete", "machine", "a").startswith(f'{TITLE} "a" deleted')
    assert left() == ["b", "c", "d", "e"]
    assert '"a" not found' in kubectl.refused("delete", "machine", "a")
    assert kubectl("delete", "machine", "a", "--ignore-not-found") == ""
    # From 1.33 on with the namespace.
    for who, note in [("client", "(dry run)"), ("server", "(server dry run)")]:
        told = kubectl("delete", "machine", "b", f"--dry-run={who}")
        assert told.startswith(f'{TITLE} "b" deleted')
        assert told.endswith(f"{note}\n")
    assert left() == ["b", "c", "d", "e"]
    kubectl("delete", "-f", "-", given=items[1])
    kubectl("delete", "machines", "-l", "team=y")
    assert left() == ["e"]
    kubectl("delete", "machine", "e", "--wait=false")
    kubectl("wait", "machine/e", "--for=delete", "--timeout=30s")
    kubectl("create", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": items[:2]})
    assert kubectl("delete", "machines", "--all").count("deleted") == 2
    assert left() == []
    raw = f"/apis/{GROUP}/namespaces/{kubectl.namespace}/remotemachines"
    kubectl("create", "-f", "-", given=items[0])
    kubectl("delete", "--raw", raw)
    eventually(lambda: left() == [], 30, "a collection is deleted by one request")


def test_a_finalizer_keeps_an_object_until_it_is_taken_off(kubectl: Kubectl) -> None:
    kept = machine("box")
    kept["metadata"]["finalizers"] = ["example.org/kept"]
    kubectl("create", "-f", "-", given=kept)
    going = kubectl.start("delete", "machine", "box", "--timeout=40s")
    eventually(lambda: kubectl.get("machine", "box")["metadata"].get("deletionTimestamp"), 30, "its deletion has begun")
    kubectl("delete", "machine", "box", "--wait=false")
    refused = kubectl.refused(
        "patch", "machine", "box", "--type=merge", "-p", '{"metadata":{"finalizers":["a.b/c","example.org/kept"]}}'
    )
    assert "no new finalizers can be added if the object is being deleted" in refused
    eventually(
        lambda: kubectl.get("machine", "box")["metadata"]["finalizers"] == ["example.org/kept"], 30, "ours is taken off"
    )
    kubectl("patch", "machine", "box", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
    assert going.finish()[0] == 0


def owner_and_owned(kubectl: Kubectl) -> None:
    """A machine, and a lease that it owns."""
    kubectl("create", "-f", "-", given=machine("owner"))
    uid = kubectl.get("machine", "owner")["metadata"]["uid"]
    reference = {"apiVersion": GROUP, "kind": "RemoteMachine", "name": "owner", "uid": uid, "blockOwnerDeletion": True}
    owned = machine("owned")
    owned["metadata"]["ownerReferences"] = [reference]
    kubectl("create", "-f", "-", given=owned)


def test_what_a_deleted_object_owned_goes_after_it(kubectl: Kubectl) -> None:
    owner_and_owned(kubectl)
    kubectl("delete", "machine", "owner", "--cascade=background")
    kubectl("wait", "machine/owned", "--for=delete", "--timeout=30s")


def test_what_a_deleted_object_owned_goes_before_it_when_asked(kubectl: Kubectl) -> None:
    owner_and_owned(kubectl)
    kubectl("delete", "machine", "owner", "--cascade=foreground", "--timeout=40s")
    assert kubectl("get", "machines", "-o", "name") == ""


def test_what_a_deleted_object_owned_stays_when_asked(kubectl: Kubectl) -> None:
    owner_and_owned(kubectl)
    kubectl("delete", "machine", "owner", "--cascade=orphan", "--timeout=40s")
    assert kubectl("get", "machines", "-o", "name") == f"{TITLE}/owned\n"
    assert "ownerReferences" not in kubectl.get("machine", "owned")["metadata"]


def test_a_namespace_takes_with_it_what_it_holds(kubectl: Kubectl) -> None:
    name = f"{kubectl.namespace}-b"
    kubectl("create", "namespace", name)
    kubectl("create", "-n", name, "-f", "-", given=machine("box"))
    kubectl("delete", "namespace", name, "--timeout=40s")
    assert "not found" in kubectl.refused("get", "namespace", name)
    assert kubectl("get", "machines", "-A", "--field-selector", f"metadata.namespace={name}", "-o", "name") == ""
