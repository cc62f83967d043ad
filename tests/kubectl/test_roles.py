"""Roles as kubectl makes, asks and shows them."""

from __future__ import annotations

from driver import Kubectl, machine

TITLE = "rbac.authorization.k8s.io"


def test_a_role_allows_what_it_names_and_no_more(kubectl: Kubectl) -> None:
    asked = f"--as=system:serviceaccount:{kubectl.namespace}:robot"
    assert kubectl.refused("auth", "can-i", "get", "machines", asked) == ""
    made = kubectl("create", "role", "looker", "--verb=get,list,watch", "--resource=remotemachines.torchremote.dev")
    assert made == f"role.{TITLE}/looker created\n"
    bound = kubectl("create", "rolebinding", "lookers", "--role=looker", f"--serviceaccount={kubectl.namespace}:robot")
    assert bound == f"rolebinding.{TITLE}/lookers created\n"
    assert kubectl("auth", "can-i", "get", "machines", asked) == "yes\n"
    assert kubectl.run("auth", "can-i", "delete", "machines", asked).stdout == "no\n"
    listed = kubectl("auth", "can-i", "--list", asked)
    assert "remotemachines.torchremote.dev" in listed
    assert "[get list watch]" in listed
    assert kubectl("get", "machines", "-o", "name", asked) == ""
    refused = kubectl.refused("create", "-f", "-", asked, given=machine("box"))
    user = f"system:serviceaccount:{kubectl.namespace}:robot"
    words = (
        f'remotemachines.torchremote.dev is forbidden: User "{user}" cannot create resource "remotemachines" '
        f'in API group "torchremote.dev" in the namespace "{kubectl.namespace}"'
    )
    assert words in refused
    assert "looker" in kubectl("describe", "rolebinding", "lookers")
    assert "remotemachines.torchremote.dev" in kubectl("describe", "role", "looker")


def test_a_read_only_role_lists_and_watches_every_kind(kubectl: Kubectl) -> None:
    asked = ("--as=reader", "--as-group=readers")
    kubectl("create", "rolebinding", "readers", "--clusterrole=viewer", "--group=readers")
    listable = kubectl(
        "api-resources", "--verbs=list", "--namespaced=true", "--api-group=torchremote.dev", "-o", "name"
    )
    for kind in listable.split():
        assert kubectl("auth", "can-i", "list", kind, *asked) == "yes\n", kind
        kubectl("get", kind, *asked)


def test_roles_of_a_file_are_reconciled(kubectl: Kubectl) -> None:
    role = {
        "apiVersion": f"{TITLE}/v1",
        "kind": "Role",
        "metadata": {"name": "looker", "namespace": kubectl.namespace},
        "rules": [{"apiGroups": ["torchremote.dev"], "resources": ["deviceleases"], "verbs": ["get"]}],
    }
    assert "reconciled" in kubectl("auth", "reconcile", "-f", "-", given=role)
    assert kubectl("apply", "-f", "-", given=role).startswith(f"role.{TITLE}/looker")
    assert "deviceleases" in kubectl("get", "role", "looker", "-o", "yaml")
