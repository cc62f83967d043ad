"""Tools that wait by kstatus' rules (Flux does) read every kind right, at each change of it: never done too early, and never waited for in vain."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client, config, watch

from driver import GROUP, SECONDS, SHELF
from kstatus import CURRENT, FAILED, IN_PROGRESS, NOT_FOUND, TERMINATING, compute
from stack import Stack, eventually

HERE = {"gpu": {"type": "CPU"}, "provider": "local", "cpu": "1"}
# What kstatus says of objects of a kind that nothing moves. A kind without a row fails: say here how it is read.
AT_REST = {
    "auditevents": {CURRENT},
    "clusterrolebindings": {CURRENT},
    "clusterroles": {CURRENT},
    "customresourcedefinitions": {CURRENT},
    "deviceleases": {CURRENT, FAILED},
    "devices": {CURRENT},
    "events": {CURRENT},
    "gpuquotas": {CURRENT},
    "machinepools": {CURRENT, FAILED},
    "namespaces": {CURRENT},
    "providers": {CURRENT, FAILED},
    "remotemachines": {CURRENT, FAILED},
    "rolebindings": {CURRENT},
    "roles": {CURRENT},
    "secrets": {CURRENT},
    "serviceaccounts": {CURRENT},
    "services": {CURRENT},
    "tensors": {CURRENT},
}


# Of these there may be none.
MAYBE_NONE = {"services", "tensors", "deviceleases", "machinepools", "gpuquotas"}


class Read:
    """One object as kstatus reads it: each change from before it was made on, in order."""

    def __init__(self, own: Own, kind: str, name: str) -> None:
        self.own, self.kind, self.name = own, kind, name
        place = (*GROUP.split("/"), f"{kind}s")
        which = f"metadata.name={name}" + ("" if kind == "provider" else f",metadata.namespace={own.namespace}")
        begin = own.api.list_cluster_custom_object(*place, field_selector=which)["metadata"]["resourceVersion"]
        options = {"field_selector": which, "resource_version": begin, "_request_timeout": SECONDS}
        self.changes = watch.Watch().stream(own.api.list_cluster_custom_object, *place, **options)
        self.seen: list[str] = []
        self.generation = 0

    def made(self, kind: str, spec: dict[str, Any]) -> Read:
        """Applies the object."""
        thing = {"apiVersion": GROUP, "kind": kind, "metadata": {"name": self.name}, "spec": spec}
        self.own("apply", "-f", "-", given=thing)
        return self

    def change(self, **spec: Any) -> None:
        """Changes its spec, and forgets how it was read before."""
        self.seen.clear()
        patch = ("patch", self.kind, self.name, "--type=merge", "-p", json.dumps({"spec": spec}))
        self.generation = int(self.own(*patch, "-o", "jsonpath={.metadata.generation}"))

    def deleted(self) -> list[str]:
        """Deletes it, and reads it until it is gone. That it is being deleted is a generation of its own."""
        self.seen.clear()
        self.generation = int(self.own("get", self.kind, self.name, "-o", "jsonpath={.metadata.generation}")) + 1
        self.own("delete", self.kind, self.name, "--wait=false")
        return self.until(lambda _: False)

    def until(self, there: Callable[[dict[str, Any]], bool]) -> list[str]:
        """How it was read on the way, and is read there, without repetitions."""
        for event in self.changes:
            thing = event["object"]
            gone = event["type"] == "DELETED"
            if thing["metadata"].get("generation", 0) < self.generation and not gone:
                continue
            status = compute(None if gone else thing)
            if self.seen[-1:] != [status]:
                self.seen.append(status)
            if gone or there(thing):
                return list(self.seen)
        raise AssertionError(f"the watch has ended; read as {self.seen}")

    def phase(self, phase: str) -> list[str]:
        """Until its spec was seen and it is in this phase."""

        def there(thing: dict[str, Any]) -> bool:
            status = thing["status"]
            return bool(status["observedGeneration"] == thing["metadata"]["generation"] and status["phase"] == phase)

        return self.until(there)


def rests(thing: dict[str, Any]) -> bool:
    """Nothing is waited for any more."""
    return compute(thing) != IN_PROGRESS


class Own:
    """A namespace of the test's own."""

    def __init__(self, server: Stack, namespace: str) -> None:
        self.server, self.namespace = server, namespace
        self.api = client.CustomObjectsApi(config.new_client_from_config(config_file=str(server.kubeconfig)))

    def __call__(self, *words: str, given: object = None) -> str:
        """What kubectl prints of a command that must succeed."""
        text = json.dumps(given) if given else None
        return self.server.run("kubectl", "-n", self.namespace, *words, given=text).stdout

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object, None where there is none."""
        text = self("get", kind, name, "-o", "json", "--ignore-not-found")
        thing: dict[str, Any] | None = json.loads(text) if text.strip() else None
        return thing


@pytest.fixture
def own(server: Stack, namespace: str) -> Iterator[Own]:
    """A namespace whose machines are gone at the end."""
    made = Own(server, namespace)
    yield made
    made("delete", "machinepools,machines,deviceleases", "--all", "--timeout=60s")


def machine(own: Own, name: str, **spec: Any) -> Read:
    return Read(own, "remotemachine", name).made("RemoteMachine", {**HERE, **spec})


def test_a_machine_is_waited_for_until_it_is_ready_and_while_it_goes_and_not_while_it_is_off(own: Own) -> None:
    box = machine(own, "box")
    assert box.phase("Ready") == [IN_PROGRESS, CURRENT]
    box.change(suspend=True)
    assert box.phase("Suspended") == [IN_PROGRESS, CURRENT]
    wait = ("wait", "machine/box", "--for=condition=Ready", "--timeout=1s")
    refused = own.server.run("kubectl", "-n", own.namespace, *wait, check=False)
    assert "timed out" in refused.stderr, "what is off is not ready"
    own("wait", "machine/box", "--for=condition=Suspended", "--timeout=10s")
    box.change(suspend=False)
    assert box.phase("Ready") == [IN_PROGRESS, CURRENT]
    own("wait", "machine/box", "--for=condition=Ready", "--timeout=10s")
    assert box.deleted() == [TERMINATING, NOT_FOUND]


def test_a_machine_that_ended_as_its_spec_asks_is_not_waited_for(own: Own) -> None:
    assert machine(own, "idle", idleTimeout="1s").phase("Expired")[-2:] == [IN_PROGRESS, CURRENT]
    assert machine(own, "over", timeout="4s").phase("Expired")[-2:] == [IN_PROGRESS, CURRENT]


def test_a_machine_that_cannot_be_has_failed(own: Own) -> None:
    assert machine(own, "lost", provider=SHELF).phase("Failed") == [IN_PROGRESS, FAILED]
    off = machine(own, "off", provider=SHELF, suspend=True)
    assert off.until(rests) == [IN_PROGRESS, CURRENT]
    off.change(suspend=False)
    assert off.until(rests) == [IN_PROGRESS, FAILED]


def test_a_machine_that_is_changed_to_what_cannot_be_has_failed_though_it_runs_on(own: Own) -> None:
    box = machine(own, "box")
    assert box.phase("Ready") == [IN_PROGRESS, CURRENT]
    box.change(provider=SHELF)
    assert box.phase("Ready") == [IN_PROGRESS, FAILED], "it is not what was asked for"
    box.change(provider="local")
    assert box.phase("Ready") == [IN_PROGRESS, CURRENT]
    box.change(image={"packages": ["numpy==2.1.0"]})
    assert box.phase("Ready") == [IN_PROGRESS, FAILED], "its provider gives no image"
    box.change(image=None)
    assert box.phase("Ready") == [IN_PROGRESS, CURRENT]
    box.change(provider=SHELF, suspend=True)
    assert box.phase("Suspended") == [IN_PROGRESS, CURRENT]
    box.change(suspend=False)
    assert box.phase("Failed") == [IN_PROGRESS, FAILED], "that it ran before makes it no more possible"


def test_a_pool_is_waited_for_until_its_machines_stand(own: Own) -> None:
    def pool(name: str, provider: str, least: int) -> Read:
        spec = {"replicas": {"min": least, "max": 2}, "template": {"spec": {**HERE, "provider": provider}}}
        return Read(own, "machinepool", name).made("MachinePool", spec)

    assert pool("none", "local", 0).until(rests) == [IN_PROGRESS, CURRENT]
    assert pool("lost", SHELF, 1).until(rests) == [IN_PROGRESS, FAILED]
    one = pool("one", "local", 1)
    assert one.until(rests) == [IN_PROGRESS, CURRENT]
    ready = own("get", "machines", "-l", "torchremote.dev/pool=one", "-o", "jsonpath={.items[*].status.phase}")
    assert ready == "Ready", "not done before"
    one.change(replicas={"min": 0})
    assert one.until(rests) == [IN_PROGRESS, CURRENT]
    assert one.deleted()[-1] == NOT_FOUND


def test_a_lease_is_waited_for_until_it_is_bound(own: Own) -> None:
    machine(own, "box").phase("Ready")

    def lease(name: str, **spec: Any) -> Read:
        return Read(own, "devicelease", name).made("DeviceLease", spec)

    held = lease("held", machineRef={"name": "box"})
    assert held.phase("Bound") == [IN_PROGRESS, CURRENT]
    waits = lease("waits", machineRef={"name": "box"})
    assert waits.until(lambda thing: thing["status"].get("phase") in ("Pending", "Queued")) == [IN_PROGRESS]
    never = lease("never", gpu=[{"type": "H200"}])
    assert never.until(rests) == [IN_PROGRESS, FAILED]
    assert held.deleted() == [TERMINATING, NOT_FOUND]
    assert waits.phase("Bound") == [IN_PROGRESS, CURRENT]


def test_a_quota_and_a_provider_are_read_as_they_are(own: Own, server: Stack) -> None:
    quota = Read(own, "gpuquota", "team").made("GPUQuota", {"gpus": [{"type": "T4", "nominal": 2}]})
    assert quota.until(rests) == [IN_PROGRESS, CURRENT]
    quota.change(weight=2)
    assert quota.until(rests) == [IN_PROGRESS, CURRENT]
    name = f"place-{own.namespace}"
    place = Read(own, "provider", name).made("Provider", {"type": "Local"})
    assert place.until(rests) == [IN_PROGRESS, CURRENT]
    assert place.deleted()[-1] == NOT_FOUND
    assert compute(own.get("provider", SHELF)) == FAILED


def test_a_namespace_is_terminating_until_it_is_not_found(own: Own) -> None:
    name = f"{own.namespace}-gone"
    own("create", "namespace", name)
    assert compute(own.get("namespace", name)) == CURRENT
    # Kept for a while by an object that is.
    metadata = {"name": "kept", "namespace": name, "finalizers": ["example.com/kept"]}
    own("create", "-f", "-", "-n", name, given={"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    own("delete", "namespace", name, "--wait=false")
    assert compute(own.get("namespace", name)) == TERMINATING
    own("patch", "secret", "kept", "-n", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')

    eventually(lambda: compute(own.get("namespace", name)) == NOT_FOUND, 30, "it is gone", 0.2)


def test_every_listed_kind_at_rest_is_waited_for_in_vain_by_nobody(own: Own) -> None:
    own("create", "role", "reads", "--verb=get", "--resource=machines")
    own("create", "rolebinding", "reads", "--role=reads", "--user=bob")
    own("create", "secret", "generic", "pass", "--from-literal=a=b")
    own("create", "serviceaccount", "robot")
    # Has devices, and has events.
    machine(own, "box").phase("Ready")
    machine(own, "lost", provider=SHELF).phase("Failed")
    lists = json.loads(own("get", "--raw", "/apis"))["groups"]
    roots = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in lists)]
    listed: dict[str, str] = {}
    for root in roots:
        for resource in json.loads(own("get", "--raw", root))["resources"]:
            if "list" in resource["verbs"]:
                listed[f"{root}/{resource['name']}"] = resource["name"]
    assert sorted(set(listed.values())) == sorted(AT_REST)
    for path, name in sorted(listed.items()):
        come_to_rest(own, path, name)


def come_to_rest(own: Own, path: str, name: str) -> None:
    """Waits until all that is listed there does; other tests' objects may still be on their way."""
    read: dict[str, str] = {}

    def at_rest() -> bool:
        found = json.loads(own("get", "--raw", path))
        version, kind = found["apiVersion"], found["kind"].removesuffix("List")
        items = [{"apiVersion": version, "kind": kind, **item} for item in found["items"]]
        read.clear()
        read.update({item["metadata"]["name"]: compute(item) for item in items})
        return set(read.values()) <= AT_REST[name] | {TERMINATING} and bool(read or name in MAYBE_NONE)

    try:
        eventually(at_rest, SECONDS, f"{name} come to rest", 0.5)
    except AssertionError as error:
        raise AssertionError(f"{error}: {read}") from None


def test_the_rules_tell_one_state_from_another() -> None:
    def thing(observed: int | None = 1, **conditions: str) -> dict[str, Any]:
        status = {"conditions": [{"type": kind, "status": status} for kind, status in conditions.items()]}
        if observed is not None:
            status["observedGeneration"] = observed  # type: ignore[assignment]
        return {"apiVersion": GROUP, "kind": "RemoteMachine", "metadata": {"generation": 1}, "status": status}

    assert compute(None) == NOT_FOUND
    assert compute(thing(observed=0, Ready="True")) == IN_PROGRESS
    assert compute(thing(Ready="False", Reconciling="False")) == IN_PROGRESS, "how a machine that is off was read"
    assert compute(thing(Ready="Unknown")) == IN_PROGRESS
    assert compute(thing(Reconciling="False", Stalled="False", Suspended="True")) == CURRENT
    assert compute(thing(Ready="False", Stalled="True")) == FAILED
    assert compute(thing(Ready="True", Reconciling="True")) == IN_PROGRESS
    assert compute({**thing(Stalled="True"), "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}) == TERMINATING
    assert compute({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {}}) == CURRENT
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {}}
    assert compute(definition) == IN_PROGRESS
