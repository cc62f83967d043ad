"""What kubectl shows: lists in every form, watches, descriptions, events, and what the server says of itself."""

from __future__ import annotations

import json
import time

import pytest

from driver import GROUP, SECONDS, Kubectl, machine
from stack import eventually


@pytest.fixture
def fleet(kubectl: Kubectl) -> Kubectl:
    """Three machines of two teams, all seen by their reconciler."""
    items = [
        machine("alpha", {"team": "vision", "stage": "test"}, timeout="3h"),
        machine("beta", {"team": "speech"}, timeout="1h"),
        machine("gamma", {"team": "vision"}, timeout="2h", gpu={"type": "T4"}),
    ]
    kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": items})
    kubectl("wait", "machine", "--all", "--for=jsonpath={.status.phase}=Failed", "--timeout=30s")
    return kubectl


def test_a_table_has_the_columns_of_its_kind_and_wide_has_more(fleet: Kubectl) -> None:
    table = [line.split() for line in fleet("get", "machines").splitlines()]
    assert table[0] == ["NAME", "PROVIDER", "GPU", "PHASE", "READY", "EXPIRES", "AGE"]
    assert [row[0] for row in table[1:]] == ["alpha", "beta", "gamma"]
    wide = fleet("get", "machines", "-o", "wide").splitlines()
    assert "PROVIDER-ID" in wide[0]
    assert fleet("get", "machines", "--no-headers").splitlines()[0].startswith("alpha")
    assert fleet("get", "machines", "--show-labels").splitlines()[1].endswith("stage=test,team=vision")
    labels = fleet("get", "machines", "-L", "team").splitlines()
    assert labels[0].endswith("TEAM")
    assert labels[2].endswith("speech")
    assert fleet("get", "remotemachine/alpha", "machine/beta").count("\n") == 3


def test_objects_come_as_yaml_json_and_names(fleet: Kubectl) -> None:
    assert "  timeout: 3h\n" in fleet("get", "machine", "alpha", "-o", "yaml")
    assert fleet.get("machine", "alpha")["spec"]["timeout"] == "3h"
    listed = fleet.get("machines")
    assert (listed["kind"], len(listed["items"])) == ("List", 3)
    assert {item["kind"] for item in listed["items"]} == {"RemoteMachine"}
    names = fleet("get", "machines", "-o", "name").splitlines()
    assert names == [f"remotemachine.torchremote.dev/{name}" for name in ("alpha", "beta", "gamma")]


def test_templates_and_columns_of_ones_own(fleet: Kubectl) -> None:
    assert fleet("get", "machines", "-o", "jsonpath={.items[*].metadata.name}") == "alpha beta gamma"
    condition = '{.status.conditions[?(@.type=="Failed")].reason}'
    assert fleet("get", "machine", "alpha", "-o", f"jsonpath={condition}") == "ProviderNotServed"
    template = "{{range .items}}{{.metadata.name}}={{.spec.gpu.type}} {{end}}"
    assert fleet("get", "machines", "-o", f"go-template={template}") == "alpha=CPU beta=CPU gamma=T4 "
    columns = fleet("get", "machines", "-o", "custom-columns=WHO:.metadata.name,GPU:.spec.gpu.type").splitlines()
    assert [line.split() for line in columns] == [["WHO", "GPU"], ["alpha", "CPU"], ["beta", "CPU"], ["gamma", "T4"]]


def test_selectors_choose_and_sorting_orders(fleet: Kubectl) -> None:
    def names(*words: str) -> list[str]:
        return [line.split("/")[1] for line in fleet("get", "machines", "-o", "name", *words).splitlines()]

    assert names("-l", "team=vision") == ["alpha", "gamma"]
    assert names("-l", "team in (speech, other)") == ["beta"]
    assert names("-l", "team!=speech,!stage") == ["gamma"]
    assert names("--field-selector", "metadata.name=beta") == ["beta"]
    assert names("--field-selector", "spec.gpu.type=T4") == ["gamma"]
    assert names("--field-selector", "spec.provider=shelf,status.phase!=Failed") == []
    ordered = [line.split()[0] for line in fleet("get", "machines", "--sort-by", ".spec.timeout").splitlines()[1:]]
    assert ordered == ["beta", "gamma", "alpha"]
    assert "field label not supported" in fleet.refused("get", "machines", "--field-selector", "spec.colour=red")
    assert fleet("get", "machines", "--chunk-size=1", "-o", "name").count("\n") == 3


def test_all_namespaces_and_all_of_a_category(fleet: Kubectl) -> None:
    rows = [line.split() for line in fleet("get", "machines", "-A").splitlines()]
    assert rows[0][:2] == ["NAMESPACE", "NAME"]
    assert [fleet.namespace, "alpha"] in [row[:2] for row in rows]
    assert "remotemachine.torchremote.dev/alpha" in fleet("get", "all")
    done = fleet.run("get", "leases")
    assert (done.stdout, done.stderr) == ("", f"No resources found in {fleet.namespace} namespace.\n")
    assert fleet("get", "machine", "nobody", "--ignore-not-found") == ""
    missing = fleet.refused("get", "machine", "nobody")
    assert missing == 'Error from server (NotFound): remotemachines.torchremote.dev "nobody" not found\n'


def test_a_watch_shows_each_change_in_a_table_and_as_objects(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", given=machine("first"))
    table = kubectl.start("get", "machines", "-w")
    assert table.line().startswith("NAME")
    assert table.line().startswith("first")
    whole = kubectl.start("get", "machines", "-w", "-o", "json", "--output-watch-events")
    whole.until('"ADDED"', '"name":"first"')
    kubectl("create", "-f", "-", given=machine("second"))
    table.until("second")
    whole.until('"ADDED"', '"name":"second"')
    kubectl("label", "machine", "second", "seen=yes")
    whole.until('"MODIFIED"', '"seen":"yes"')
    kubectl("delete", "machine", "second")
    whole.until('"DELETED"', '"name":"second"')
    only = kubectl.start("get", "machines", "--watch-only", "-l", "team=vision", "-o", "name")
    kubectl("label", "machine", "first", "team=vision")

    def told() -> bool:
        # It may not watch yet: another change tells.
        kubectl("annotate", "machine", "first", f"at={time.monotonic()}", "--overwrite")
        return not only.lines.empty()

    eventually(told, SECONDS, "the change is seen", 0.2)
    assert only.line() == "remotemachine.torchremote.dev/first"


def test_a_description_ends_with_what_happened(fleet: Kubectl) -> None:
    eventually(lambda: "Warning" in fleet("describe", "machine", "alpha"), 30, "its event is written", 0.3)
    text = fleet("describe", "machine", "alpha")
    for part in (
        "Name:         alpha\n",
        f"API Version:  {GROUP}\n",
        "Kind:         RemoteMachine\n",
        "Spec:\n",
        "Status:\n",
    ):
        assert part in text, text
    events = text.split("Events:")[1]
    assert "ProviderNotServed" in events or "Failed" in events
    # By the beginning of the name.
    assert "Name:         gamma\n" in fleet("describe", "machine", "gam")
    assert "Name:         shelf\n" in fleet("describe", "provider", "shelf")
    assert f"Name:         {fleet.namespace}\n" in fleet("describe", "namespace", fleet.namespace)


def test_events_are_told_of_an_object_and_of_all(fleet: Kubectl) -> None:
    eventually(lambda: "machine/alpha" in fleet("get", "events"), 30, "its event is written", 0.3)
    told = fleet("events", "--for", "remotemachine/alpha")
    assert told.splitlines()[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert "RemoteMachine/alpha" in told
    assert "RemoteMachine/beta" not in told
    assert "beta" in fleet("events", "--types=Warning")
    sorted_ = fleet("get", "events", "--sort-by=.lastTimestamp", "--field-selector", "involvedObject.name=beta")
    assert "machine/beta" in sorted_
    watching = fleet.start("events", "-w")
    watching.until("OBJECT")


def test_the_server_says_what_there_is(kubectl: Kubectl) -> None:
    rows = {line.split()[0]: line.split() for line in kubectl("api-resources").splitlines()}
    assert rows["remotemachines"][-3:] == [GROUP, "true", "RemoteMachine"]
    assert rows["providers"][-2:] == ["false", "Provider"]
    wide = kubectl("api-resources", "-o", "wide").splitlines()
    machines = next(line for line in wide if line.startswith("remotemachines"))
    verbs = "create,delete,deletecollection,get,list,patch,update,watch"
    assert verbs in machines
    named = kubectl("api-resources", "--categories=all", "-o", "name").splitlines()
    assert "remotemachines.torchremote.dev" in named
    assert "namespaces" not in named
    short = kubectl("api-resources", "--api-group=torchremote.dev", "--namespaced=false", "-o", "name").split()
    assert short == ["auditevents.torchremote.dev", "providers.torchremote.dev"]
    versions = kubectl("api-versions").split()
    assert {"v1", GROUP, "authorization.k8s.io/v1"} <= set(versions)


def test_every_field_is_explained(kubectl: Kubectl) -> None:
    explained = kubectl("explain", "remotemachine.spec.gpu")
    for part in ("GROUP:      torchremote.dev", "KIND:       RemoteMachine", "FIELD: gpu <Object>", "count\t<integer>"):
        assert part in explained, explained
    for kind in kubectl("api-resources", "--api-group=torchremote.dev", "-o", "name").split():
        tree = kubectl("explain", kind, "--recursive")
        assert "status" in tree or kind.startswith("auditevents."), tree
    assert "DESCRIPTION" in kubectl("explain", "namespaces")
    assert 'field "colour" does not exist' in kubectl.refused("explain", "machine.spec.colour")


def test_the_server_says_who_and_how_it_is(kubectl: Kubectl) -> None:
    versions = json.loads(kubectl("version", "-o", "json"))
    assert (versions["serverVersion"]["major"], versions["serverVersion"]["minor"]) == ("1", "32")
    assert "is running at" in kubectl("cluster-info")
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert "ok" in kubectl("get", "--raw", "/readyz?verbose")
    raw = json.loads(kubectl("get", "--raw", f"/apis/{GROUP}"))
    assert raw["kind"] == "APIResourceList"
    assert "404" in kubectl.refused("get", "--raw", "/nowhere") or "NotFound" in kubectl.refused(
        "get", "--raw", "/nowhere"
    )
    assert "unknown flag: --colour" in kubectl.refused("get", "machines", "--colour")
    assert 'the server doesn\'t have a resource type "machinez"' in kubectl.refused("get", "machinez")


def test_one_knows_who_one_is_and_what_one_may(kubectl: Kubectl) -> None:
    rows = [line.split(maxsplit=1) for line in kubectl("auth", "whoami").splitlines()]
    assert rows[1:3] == [["Username", "admin"], ["Groups", "[system:masters system:authenticated]"]]
    who = json.loads(kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert (who["username"], who["groups"]) == ("admin", ["system:masters", "system:authenticated"])
    assert kubectl("auth", "can-i", "create", "remotemachines") == "yes\n"
    assert kubectl("auth", "can-i", "delete", "machine/alpha") == "yes\n"
    assert kubectl("auth", "can-i", "get", "providers", "-A").endswith("yes\n")
    listed = kubectl("auth", "can-i", "--list").splitlines()
    assert listed[0].split() == ["Resources", "Non-Resource", "URLs", "Resource", "Names", "Verbs"]
    assert any("[*]" in line for line in listed[1:])
