"""What the documentation shows is run."""

from __future__ import annotations

import os

import nbclient
import nbformat
import pytest

from stack import ROOT, Stack


def test_the_quickstart_notebook_runs_from_top_to_bottom(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**stack.env, "JPY_SESSION_NAME": "/home/someone/quickstart.ipynb"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "sdk-python" / "python"))
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute(env=dict(os.environ))
    text = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))
    assert "lease nb-quickstart-" in text
    assert "IndexError: " in text
    last = notebook.cells[-1]["outputs"][0]["data"]["text/plain"]
    assert last == "False"
