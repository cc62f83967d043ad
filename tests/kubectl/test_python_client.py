"""The official Python client: list-watch, every patch, server-side apply, typed and untyped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config, dynamic, watch

from driver import SECONDS, machine
from stack import Stack, eventually

GROUP, VERSION, PLURAL = "torchremote.dev", "v1alpha1", "remotemachines"


@pytest.fixture
def api(server: Stack) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(config_file=str(server.kubeconfig)) as found:
        yield found


class Machines:
    """RemoteMachines of a namespace, by `CustomObjectsApi`."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self.api, self.place = client.CustomObjectsApi(api), (GROUP, VERSION, namespace, PLURAL)

    def create(self, name: str, **spec: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.api.create_namespaced_custom_object(*self.place, body=machine(name, **spec))
        return made

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get_namespaced_custom_object(*self.place, name)
        return found

    def patch(self, name: str, body: object, kind: str, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.api.patch_namespaced_custom_object(
            *self.place, name, body, _content_type=f"application/{kind}", **more
        )
        return found


@pytest.fixture
def machines(api: client.ApiClient, namespace: str) -> Machines:
    return Machines(api, namespace)


def test_a_watch_begins_where_a_list_ended_and_resumes_where_it_was_cut(machines: Machines) -> None:
    machines.create("first")
    listed = machines.api.list_namespaced_custom_object(*machines.place)
    assert [item["metadata"]["name"] for item in listed["items"]] == ["first"]
    version = listed["metadata"]["resourceVersion"]
    eventually(lambda: machines.get("first").get("status", {}).get("phase") == "Failed", 30, "it settles", 0.2)
    seen: list[tuple[str, str]] = []
    stopped = threading.Event()
    watcher = watch.Watch()

    def follow() -> None:
        # Each request ends after a second; the next goes on at the version the watcher has seen last.
        while not stopped.is_set():
            stream = watcher.stream(
                machines.api.list_namespaced_custom_object,
                *machines.place,
                resource_version=watcher.resource_version or version,
                timeout_seconds=1,
            )
            for event in stream:
                seen.append((event["type"], event["object"]["metadata"]["name"]))
            stopped.wait(0.01)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    names = [f"box-{number}" for number in range(6)]
    for name in names:
        machines.create(name)
        eventually(lambda name=name: ("ADDED", name) in seen, SECONDS, f"{name} is seen")
    stopped.set()
    thread.join(SECONDS)
    assert not thread.is_alive()
    added = [name for kind, name in seen if kind == "ADDED"]
    assert added == names, "none twice, none missed, in their order"


def test_three_kinds_of_patch(machines: Machines) -> None:
    machines.create("box", timeout="2h")
    merged = machines.patch("box", {"spec": {"timeout": "3h"}}, "merge-patch+json")
    assert merged["spec"]["timeout"] == "3h"
    operations = [{"op": "replace", "path": "/spec/timeout", "value": "4h"}]
    assert machines.patch("box", operations, "json-patch+json")["spec"]["timeout"] == "4h"
    with pytest.raises(client.ApiException) as refused:
        machines.patch("box", {"spec": {"timeout": "5h"}}, "strategic-merge-patch+json")
    assert refused.value.status == 415
    status = machines.api.get_namespaced_custom_object_status(*machines.place, "box")
    assert status["kind"] == "RemoteMachine"


def test_apply_at_the_server(machines: Machines) -> None:
    def apply(manager: str, hours: str, **more: Any) -> dict[str, Any]:
        body = machine("box", timeout=hours)
        return machines.patch("box", body, "apply-patch+yaml", field_manager=manager, **more)

    # The client makes nothing of the answer 201, which says that the object is new.
    apply("alice", "2h")
    assert machines.get("box")["spec"]["timeout"] == "2h"
    with pytest.raises(client.ApiException) as refused:
        apply("bob", "3h")
    assert refused.value.status == 409
    assert 'conflict with \\"alice\\": .spec.timeout' in str(refused.value.body)
    assert apply("bob", "3h", force=True)["spec"]["timeout"] == "3h"


def test_the_dynamic_client_knows_our_kinds(api: client.ApiClient, namespace: str) -> None:
    found = dynamic.DynamicClient(api).resources.get(api_version=f"{GROUP}/{VERSION}", kind="RemoteMachine")
    assert (found.name, found.namespaced) == (PLURAL, True)
    made = found.create(body=machine("box"), namespace=namespace)
    assert made.metadata.generation == 1
    patched = found.patch(
        body={"metadata": {"name": "box", "labels": {"a": "b"}}},
        namespace=namespace,
        content_type="application/merge-patch+json",
    )
    assert patched.metadata.labels.a == "b"
    listed = found.get(namespace=namespace, label_selector="a=b")
    assert [item.metadata.name for item in listed.items] == ["box"]
    for event in found.watch(namespace=namespace, timeout=20):
        assert (event["type"], event["object"].metadata.name) == ("ADDED", "box")
        break
    found.delete(name="box", namespace=namespace)
    eventually(lambda: not found.get(namespace=namespace).items, 30, "it is gone", 0.2)


def test_typed_calls_for_core_kinds(api: client.ApiClient, namespace: str, machines: Machines) -> None:
    core = client.CoreV1Api(api)
    made = core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=f"{namespace}-py")))
    assert made.status.phase == "Active"
    core.patch_namespace(f"{namespace}-py", {"metadata": {"labels": {"a": "b"}}})
    assert [found.metadata.name for found in core.list_namespace(label_selector="a=b").items] == [f"{namespace}-py"]
    core.delete_namespace(f"{namespace}-py")
    machines.create("box")

    def told() -> list[Any]:
        events: list[Any] = core.list_namespaced_event(namespace, field_selector="involvedObject.name=box").items
        return events

    event = eventually(told, 30, "its event is written", 0.2)[0]
    assert event.involved_object.uid == machines.get("box")["metadata"]["uid"]
    assert client.VersionApi(api).get_code().major == "1"
    review = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(
            resource_attributes=client.V1ResourceAttributes(
                group=GROUP, resource=PLURAL, verb="create", namespace=namespace
            )
        )
    )
    assert client.AuthorizationV1Api(api).create_self_subject_access_review(review).status.allowed


def test_errors_are_statuses(api: client.ApiClient, machines: Machines) -> None:
    with pytest.raises(client.ApiException) as missing:
        machines.get("nobody")
    assert (missing.value.status, '"reason":"NotFound"' in str(missing.value.body).replace(" ", "")) == (404, True)
    wrong = machine("box", gpu={"type": "A1000"})
    with pytest.raises(client.ApiException) as invalid:
        machines.api.create_namespaced_custom_object(*machines.place, body=wrong)
    assert invalid.value.status == 422


def test_a_quiet_watch_has_its_headers_at_once_and_asks_proxies_not_to_gather_its_events(machines: Machines) -> None:
    begin = machines.api.list_namespaced_custom_object(*machines.place)["metadata"]["resourceVersion"]
    options = {"watch": True, "resource_version": begin, "_preload_content": False, "_request_timeout": SECONDS}
    # Returns with the headers: nothing else will come.
    answer = machines.api.list_namespaced_custom_object(*machines.place, **options)
    named = ("content-type", "transfer-encoding", "x-accel-buffering")
    assert (answer.status, *(answer.headers[name] for name in named)) == (200, "application/json", "chunked", "no")
    answer.close()
