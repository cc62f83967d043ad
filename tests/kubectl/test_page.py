"""The page about clients says what can be done."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from stack import ROOT, Stack

PAGE = (ROOT / "docs" / "kubectl.md").read_text()


def blocks(heading: str, language: str = "") -> list[str]:
    """The code blocks below a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def commands(heading: str) -> list[list[str]]:
    return [shlex.split(line, comments=True) for block in blocks(heading) for line in block.splitlines()]


def test_kubectl_can_be_used_as_the_page_says(stack: Stack) -> None:
    for words in commands("With kubectl"):
        assert words[0] == "kubectl"
        stack.run(*words)


def test_the_client_can_be_used_as_the_page_says(stack: Stack) -> None:
    for words in commands("Without kubectl"):
        if words[0] != "torch-remote":
            continue
        done = stack.run(*words[:2], "--help")
        options = [word.split("=")[0] for word in words if word.startswith("-") and word != "-"]
        assert all(option in done.stdout for option in options), words


def test_python_can_be_used_as_the_page_says(stack: Stack) -> None:
    pytest.importorskip("kubernetes")
    (code,) = blocks("From Python", "python")
    done = subprocess.run([sys.executable, "-c", code], env=stack.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "shared" in done.stdout
