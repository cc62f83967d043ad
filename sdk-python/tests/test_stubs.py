"""The stub of the native core says what is there."""

from __future__ import annotations

import subprocess
import sys

from stack import ROOT


def test_the_stub_of_the_native_core_is_true() -> None:
    command = [
        sys.executable,
        "-m",
        "mypy.stubtest",
        "torch_remote._C",
        "--ignore-disjoint-bases",
        "--mypy-config-file",
        "pyproject.toml",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
