"""Service accounts, their tokens, and secrets, as kubectl makes and shows them."""

from __future__ import annotations

import base64
import json

from driver import Kubectl


def test_an_account_has_tokens_that_speak_for_it(kubectl: Kubectl) -> None:
    assert kubectl("create", "serviceaccount", "robot") == "serviceaccount/robot created\n"
    assert "robot" in kubectl("get", "sa")
    assert "Name:" in kubectl("describe", "serviceaccount", "robot")
    token = kubectl("create", "token", "robot", "--duration=20m").strip()
    assert token.count(".") == 2
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    config["users"][0]["user"] = {"token": token}
    robot = {"KUBECONFIG": kubectl.file("robot", config)}
    asked = json.loads(kubectl("auth", "whoami", "-o", "json", **robot))
    who = asked["status"]["userInfo"]
    assert who["username"] == f"system:serviceaccount:{kubectl.namespace}:robot"
    assert f"system:serviceaccounts:{kubectl.namespace}" in who["groups"]
    assert '"nobody" not found' in kubectl.refused("create", "token", "nobody")
    kubectl("delete", "serviceaccount", "robot")
    refused = kubectl.refused("auth", "whoami", **robot)
    assert "Unauthorized" in refused or "must be logged in" in refused


def test_a_secret_is_kept_and_not_shown(kubectl: Kubectl) -> None:
    made = kubectl("create", "secret", "generic", "pass", "--from-literal=word=swordfish")
    assert made == "secret/pass created\n"
    listed = kubectl("get", "secrets").splitlines()
    assert listed[0].split() == ["NAME", "TYPE", "DATA", "AGE"]
    assert listed[1].split()[:3] == ["pass", "Opaque", "1"]
    described = kubectl("describe", "secret", "pass")
    assert "word:  9 bytes" in described
    assert "swordfish" not in described
    encoded = kubectl("get", "secret", "pass", "-o", "jsonpath={.data.word}")
    assert base64.b64decode(encoded) == b"swordfish"

    def manifest(word: str) -> dict[str, object]:
        data = {"word": base64.b64encode(word.encode()).decode()}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other"}, "data": data}

    assert kubectl("apply", "-f", "-", given=manifest("herring")) == "secret/other created\n"
    assert kubectl("apply", "-f", "-", given=manifest("herring")) == "secret/other unchanged\n"
    difference = kubectl.run("diff", "-f", "-", given=manifest("haddock"))
    assert difference.returncode == 1
    assert base64.b64encode(b"haddock").decode() not in difference.stdout
    assert kubectl("apply", "-f", "-", given=manifest("haddock")) == "secret/other configured\n"
    assert kubectl("get", "secret", "other", "-o", "go-template={{.data.word|base64decode}}") == "haddock"
    kubectl("delete", "secrets", "--all")
    assert kubectl("get", "secrets", "-o", "name") == ""
