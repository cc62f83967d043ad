"""What kubectl changes: apply, create, replace, edit, patch, label, and every dry run of it."""

from __future__ import annotations

import json

import pytest

from driver import Kubectl, machine

TITLE = "remotemachine.torchremote.dev"


def timeout(kubectl: Kubectl, name: str = "box") -> str:
    return kubectl("get", "machine", name, "-o", "jsonpath={.spec.timeout}")


def test_apply_creates_changes_and_leaves_alone(kubectl: Kubectl) -> None:
    first = machine("box", {"team": "vision"}, timeout="2h")
    assert kubectl("apply", "-f", "-", given=first) == f"{TITLE}/box created\n"
    assert kubectl("apply", "-f", "-", given=first) == f"{TITLE}/box unchanged\n"
    version = kubectl.get("machine", "box")["metadata"]["generation"]
    assert kubectl("apply", "-f", "-", given=machine("box", timeout="3h")) == f"{TITLE}/box configured\n"
    box = kubectl.get("machine", "box")
    assert box["metadata"].get("labels") is None, "what the manifest no longer says is gone"
    assert (box["spec"]["timeout"], box["metadata"]["generation"]) == ("3h", version + 1)
    assert kubectl("apply", "view-last-applied", "machine/box", "-o", "json").count('"timeout": "3h"') == 1


def test_apply_takes_folders_lists_and_many_documents(kubectl: Kubectl) -> None:
    kubectl.file("fleet/a.json", machine("a"))
    kubectl.file("fleet/deep/b.json", machine("b"))
    kubectl.file("fleet/README.md", "not a manifest")
    assert kubectl("apply", "-f", "fleet") == f"{TITLE}/a created\n"
    applied = kubectl("apply", "-R", "-f", "fleet").splitlines()
    assert applied == [f"{TITLE}/a unchanged", f"{TITLE}/b created"]
    documents = "".join(f"---\n{json.dumps(machine(name))}\n" for name in ("c", "d"))
    assert kubectl("apply", "-f", "-", given=documents).splitlines() == [f"{TITLE}/c created", f"{TITLE}/d created"]


def test_apply_on_the_server_names_who_owns_a_field_and_force_takes_it(kubectl: Kubectl) -> None:
    def apply(manager: str, hours: str, *words: str) -> tuple[int, str, str]:
        manifest = machine("box", timeout=hours)
        done = kubectl.run("apply", "--server-side", f"--field-manager={manager}", *words, "-f", "-", given=manifest)
        return done.returncode, done.stdout, done.stderr

    assert apply("alice", "2h") == (0, f"{TITLE}/box serverside-applied\n", "")
    version = kubectl.get("machine", "box")["metadata"]["generation"]
    assert apply("alice", "2h")[0] == 0
    assert apply("bob", "2h")[0] == 0, "who asks for the same shares the field"
    code, _, refused = apply("carol", "3h")
    assert code == 1
    assert "Apply failed with 2 conflicts" in refused
    for manager in ("alice", "bob"):
        assert f'conflict with "{manager}"' in refused or f'conflicts with "{manager}"' in refused
    assert ".spec.timeout" in refused
    assert "--force-conflicts" in refused
    assert timeout(kubectl) == "2h"
    assert apply("carol", "3h", "--force-conflicts")[0] == 0
    assert timeout(kubectl) == "3h"
    shown = json.loads(kubectl("get", "machine", "box", "-o", "json", "--show-managed-fields"))
    managers = {
        entry["manager"]: entry["fieldsV1"].get("f:spec", {})
        for entry in shown["metadata"]["managedFields"]
        if entry["operation"] == "Apply"
    }
    assert "f:timeout" in managers["carol"]
    assert "f:timeout" not in managers["alice"]
    assert shown["metadata"]["generation"] == version + 1


def test_apply_goes_on_at_the_server_with_what_it_began_at_the_client(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=machine("box", timeout="2h"))
    assert kubectl("apply", "--server-side", "-f", "-", given=machine("box", timeout="3h")).endswith("applied\n")
    assert timeout(kubectl) == "3h"
    # A field that the manifest leaves out has no owner any more.
    kubectl("apply", "--server-side", "-f", "-", given=machine("box", idleTimeout="20m"))
    assert kubectl("get", "machine", "box", "-o", "jsonpath={.spec.idleTimeout}") == "20m"
    assert timeout(kubectl) != "3h"
    # An empty difference is an empty write.
    before = kubectl.get("machine", "box")["metadata"]["resourceVersion"]
    kubectl("wait", "machine/box", "--for=condition=Failed", "--timeout=30s")
    before = kubectl.get("machine", "box")["metadata"]["resourceVersion"]
    kubectl("apply", "--server-side", "-f", "-", given=machine("box", idleTimeout="20m"))
    assert kubectl.get("machine", "box")["metadata"]["resourceVersion"] == before
    assert kubectl("diff", "--server-side", "-f", "-", given=machine("box", idleTimeout="20m")) == ""


def test_create_makes_what_is_not_there(kubectl: Kubectl) -> None:
    assert kubectl("create", "-f", "-", given=machine("box")) == f"{TITLE}/box created\n"
    assert '"box" already exists' in kubectl.refused("create", "-f", "-", given=machine("box"))
    generated = machine("x")
    generated["metadata"] = {"generateName": "box-"}
    name = kubectl("create", "-f", "-", "-o", "name", given=generated).strip()
    assert name.startswith(f"{TITLE}/box-")
    assert len(name) == len(f"{TITLE}/box-") + 5
    second = f"{kubectl.namespace}-b"
    assert kubectl("create", "namespace", second) == f"namespace/{second} created\n"
    assert kubectl("get", "ns", second, "-o", "jsonpath={.status.phase}") == "Active"
    assert kubectl("delete", "ns", second).startswith(f'namespace "{second}" deleted')
    nowhere = kubectl.refused("create", "-f", "-", "-n", "nowhere", given=machine("box"))
    assert 'namespaces "nowhere" not found' in nowhere


def test_a_dry_run_shows_and_keeps_nothing(kubectl: Kubectl) -> None:
    assert kubectl("apply", "--dry-run=client", "-f", "-", given=machine("a")) == f"{TITLE}/a created (dry run)\n"
    told = kubectl("apply", "--dry-run=server", "-f", "-", given=machine("a"))
    assert told == f"{TITLE}/a created (server dry run)\n"
    shown = json.loads(kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", given=machine("a")))
    assert shown["metadata"]["uid"]
    assert shown["spec"]["idleTimeout"], "defaults are shown"
    assert "name: dry\n" in kubectl("create", "namespace", "dry", "--dry-run=client", "-o", "yaml")
    assert kubectl("create", "namespace", "dry", "--dry-run=server") == "namespace/dry created (server dry run)\n"
    assert kubectl("get", "machines", "-o", "name") == ""
    assert "not found" in kubectl.refused("get", "ns", "dry")
    kubectl("apply", "-f", "-", given=machine("box", timeout="2h"))
    kubectl("patch", "machine", "box", "--type=merge", "-p", '{"spec":{"timeout":"9h"}}', "--dry-run=server")
    kubectl("label", "machine", "box", "a=b", "--dry-run=server")
    kubectl("delete", "machine", "box", "--dry-run=server")
    assert timeout(kubectl) == "2h"
    assert "a" not in kubectl.get("machine", "box")["metadata"].get("labels", {})


def test_a_difference_is_shown_and_gone_after_apply(kubectl: Kubectl) -> None:
    first, second = machine("box", timeout="2h"), machine("box", timeout="3h")
    new = kubectl.run("diff", "-f", "-", given=first)
    assert new.returncode == 1
    assert "+  name: box\n" in new.stdout
    kubectl("apply", "-f", "-", given=first)
    assert kubectl("diff", "-f", "-", given=first) == "", "defaults are no difference"
    changed = kubectl.run("diff", "-f", "-", given=second)
    assert changed.returncode == 1
    assert "-  timeout: 2h\n+  timeout: 3h\n" in changed.stdout
    assert timeout(kubectl) == "2h"
    wrong = kubectl.run("diff", "-f", "-", given=machine("box", timeout="soon"))
    assert wrong.returncode > 1


def test_an_editor_changes_an_object(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=machine("box", timeout="2h"))
    editor = kubectl.folder / "editor"
    editor.write_text('#!/bin/sh\nsed -i "$EXPRESSION" "$1"\n')
    editor.chmod(0o755)
    edited = kubectl("edit", "machine", "box", KUBE_EDITOR=str(editor), EXPRESSION="s/timeout: 2h/timeout: 5h/")
    assert edited == f"{TITLE}/box edited\n"
    assert timeout(kubectl) == "5h"
    same = kubectl.run("edit", "machine", "box", KUBE_EDITOR=str(editor), EXPRESSION="s/a/a/")
    assert "no changes made" in same.stdout + same.stderr


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("merge", '{"spec":{"timeout":"4h"}}'),
        (
            "json",
            '[{"op":"test","path":"/spec/timeout","value":"2h"},{"op":"replace","path":"/spec/timeout","value":"4h"}]',
        ),
    ],
)
def test_a_patch_changes_a_field(kubectl: Kubectl, kind: str, patch: str) -> None:
    kubectl("apply", "-f", "-", given=machine("box", timeout="2h"))
    assert kubectl("patch", "machine", "box", f"--type={kind}", "-p", patch) == f"{TITLE}/box patched\n"
    assert timeout(kubectl) == "4h"
    if kind == "merge":
        assert kubectl("patch", "machine", "box", f"--type={kind}", "-p", patch) == f"{TITLE}/box patched (no change)\n"
    else:
        assert kubectl.refused("patch", "machine", "box", f"--type={kind}", "-p", patch)
    wrong = kubectl.refused("patch", "machine", "box", "--type=merge", "-p", '{"spec":{"gpu":{"type":"A1000"}}}')
    assert wrong.startswith('The RemoteMachine "box" is invalid: spec.gpu.type: Unsupported value: "A1000"')


def test_a_strategic_patch_is_for_core_kinds(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=machine("box", timeout="2h"))
    refused = kubectl.refused("patch", "machine", "box", "-p", '{"spec":{"timeout":"5h"}}')
    assert "application/strategic-merge-patch+json is not supported by torchremote.dev/v1alpha1" in refused
    patched = kubectl("patch", "namespace", kubectl.namespace, "-p", '{"metadata":{"labels":{"a":"b"}}}')
    assert patched == f"namespace/{kubectl.namespace} patched\n"


def test_the_status_has_a_door_of_its_own(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=machine("box"))
    kubectl("wait", "machine/box", "--for=condition=Failed", "--timeout=30s")
    kubectl("patch", "machine", "box", "--type=merge", "-p", '{"status":{"phase":"Ready"}}')
    assert kubectl("get", "machine", "box", "-o", "jsonpath={.status.phase}") == "Failed", "status is not for owners"
    shown = json.loads(kubectl("get", "machine", "box", "--subresource=status", "-o", "json"))
    assert shown["status"]["phase"] == "Failed"
    kubectl(
        "patch",
        "machine",
        "box",
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status":{"providerId":"i-1"}}',
        "--dry-run=server",
    )


def test_replace_puts_one_object_in_the_place_of_another(kubectl: Kubectl) -> None:
    assert "not found" in kubectl.refused("replace", "-f", "-", given=machine("box"))
    kubectl("create", "-f", "-", given=machine("box", {"a": "b"}, timeout="2h"))
    assert kubectl("replace", "-f", "-", given=machine("box", timeout="3h")) == f"{TITLE}/box replaced\n"
    box = kubectl.get("machine", "box")
    assert box["spec"]["timeout"] == "3h"
    assert "labels" not in box["metadata"]
    stale = {**machine("box"), "metadata": {"name": "box", "resourceVersion": "1"}}
    refused = kubectl.refused("replace", "-f", "-", given=stale)
    assert "the object has been modified; please apply your changes to the latest version" in refused
    forced = kubectl("replace", "--force", "-f", "-", given=machine("box"))
    assert forced.endswith(f"{TITLE}/box replaced\n")
    assert kubectl.get("machine", "box")["metadata"]["uid"] != box["metadata"]["uid"]


def test_labels_and_annotations_come_and_go(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", given=machine("box"))
    generation = kubectl.get("machine", "box")["metadata"]["generation"]
    assert kubectl("label", "machine", "box", "team=vision") == f"{TITLE}/box labeled\n"
    assert kubectl("label", "machine", "box", "team=vision") == f"{TITLE}/box not labeled\n"
    assert "--overwrite is false" in kubectl.refused("label", "machine", "box", "team=speech")
    assert kubectl("label", "machine", "box", "team=speech", "--overwrite") == f"{TITLE}/box labeled\n"
    assert kubectl("label", "machine", "box", "--list") == "team=speech\n"
    assert kubectl("label", "machine", "box", "team-") == f"{TITLE}/box unlabeled\n"
    assert kubectl("annotate", "machine", "--all", "note=read me") == f"{TITLE}/box annotated\n"
    metadata = kubectl.get("machine", "box")["metadata"]
    assert (metadata["annotations"], metadata["generation"]) == ({"note": "read me"}, generation)
    long = kubectl.refused("label", "machine", "box", "team=" + "x" * 64)
    assert "must be no more than 63" in long


def test_unknown_fields_are_refused_named_or_dropped_as_asked(kubectl: Kubectl) -> None:
    wrong = machine("box", colour="red")
    refused = kubectl.refused("apply", "-f", "-", given=wrong)
    assert 'strict decoding error: unknown field "spec.colour"' in refused
    assert kubectl("get", "machines", "-o", "name") == ""
    warned = kubectl.run("apply", "--validate=warn", "-f", "-", given=wrong)
    assert warned.returncode == 0
    assert 'Warning: unknown field "spec.colour"' in warned.stderr
    assert "colour" not in kubectl.get("machine", "box")["spec"]
    ignored = kubectl.run("apply", "--validate=ignore", "-f", "-", given=machine("other", colour="red"))
    assert (ignored.returncode, ignored.stderr) == (0, "")
    text = json.dumps(machine("twice"))
    twice = kubectl.file("twice.json", text.replace('"provider": "shelf"', '"provider": "shelf", "provider": "other"'))
    path = f"/apis/torchremote.dev/v1alpha1/namespaces/{kubectl.namespace}/remotemachines?fieldValidation=Strict"
    assert 'duplicate field "spec.provider"' in kubectl.refused("create", "--raw", path, "-f", twice)


def test_what_is_wrong_is_named_in_kubernetes_own_words(kubectl: Kubectl) -> None:
    for manifest, words in [
        (
            machine("box", gpu={"type": "A1000"}),
            'spec.gpu.type: Unsupported value: "A1000": supported values: "A100-40GB"',
        ),
        (machine("box", timeout="soon"), 'spec.timeout: Invalid value: "soon"'),
        (machine("Box"), "metadata.name: Invalid value"),
        ({**machine("box"), "spec": {"gpu": {"type": "CPU"}}}, "spec.provider: Required value"),
        (machine("box", gpu={"type": "CPU", "count": 0}), "spec.gpu.count: Invalid value: 0"),
    ]:
        refused = kubectl.refused("create", "-f", "-", given=manifest)
        assert refused.startswith("The RemoteMachine "), refused
        assert words in refused, refused
    kubectl("create", "-f", "-", given=machine("box"))
    two = kubectl.refused("create", "-f", "-", given=machine("x", timeout="soon", gpu={"type": "A1000"}))
    assert "* spec.gpu.type" in two
    assert "* spec.timeout" in two


def test_kustomize_builds_and_applies(kubectl: Kubectl) -> None:
    kubectl.file("base/box.json", machine("box", timeout="2h"))
    kubectl.file(
        "base/kustomization.yaml", "resources: [box.json]\nnamePrefix: team-\nlabels: [{pairs: {team: vision}}]\n"
    )
    patch = r"- op: replace\n  path: /spec/timeout\n  value: 6h"
    overlay = f'resources: [../base]\npatches: [{{target: {{kind: RemoteMachine}}, patch: "{patch}"}}]\n'
    kubectl.file("overlay/kustomization.yaml", overlay)
    assert "name: team-box\n" in kubectl("kustomize", "overlay")
    assert kubectl("apply", "-k", "overlay") == f"{TITLE}/team-box created\n"
    assert timeout(kubectl, "team-box") == "6h"
    assert kubectl("get", "machines", "-l", "team=vision", "-o", "name") == f"{TITLE}/team-box\n"
    assert kubectl("diff", "-k", "overlay") == ""
    assert 'team-box" deleted' in kubectl("delete", "-k", "overlay")
