"""The wheel: what a user installs is the package and one native core."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import torch_remote

SDK = Path(__file__).resolve().parent.parent

# Stands in for cargo's compiler alone: the core that these tests run on is the one to pack. Compiled for the wheel it is the same code with pyo3's feature for
# extension modules, which builds a third of the workspace again.
CARGO = """
#!{python}
import json, os, subprocess, sys
real, core = {cargo!r}, {core!r}
if "rustc" not in sys.argv[1:]:
    os.execv(real, [real, *sys.argv[1:]])
metadata = subprocess.run([real, "metadata", "--no-deps", "--format-version", "1"], cwd={sdk!r}, capture_output=True, check=True)
(package,) = [one for one in json.loads(metadata.stdout)["packages"] if one["name"] == "torch-remote-sdk"]
(target,) = [one for one in package["targets"] if "cdylib" in one["kind"]]
profile = dict(opt_level="3", debuginfo=0, debug_assertions=False, overflow_checks=False, test=False)
print(json.dumps(dict(
    reason="compiler-artifact", package_id=package["id"], manifest_path=package["manifest_path"], target=target, profile=profile,
    features=[], filenames=[core] * len(target["crate_types"]), executable=None, fresh=True,
)))
print(json.dumps(dict(reason="build-finished", success=True)))
"""


def test_the_wheel_has_one_shared_object_and_all_of_the_package(tmp_path: Path) -> None:
    package = Path(torch_remote.__file__).parent
    cargo = shutil.which("cargo")
    assert cargo is not None
    stand_in = tmp_path / "cargo"
    core = tmp_path / "lib_C.so"
    shutil.copy2(package / "_C.abi3.so", core)
    code = CARGO.format(python=sys.executable, cargo=cargo, core=str(core), sdk=str(SDK))
    stand_in.write_text(textwrap.dedent(code).lstrip())
    stand_in.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if name != "CARGO"}
    env["PATH"] = f"{tmp_path}{os.pathsep}{env['PATH']}"
    done = subprocess.run(
        ["maturin", "build", "--locked", "--out", tmp_path / "wheel"], cwd=SDK, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "wheel").iterdir()
    assert "-abi3-" in wheel.name
    packed = zipfile.ZipFile(wheel).namelist()
    assert [name for name in packed if name.endswith((".so", ".dylib", ".pyd"))] == ["torch_remote/_C.abi3.so"]
    files = {
        str(file.relative_to(package.parent)) for kind in ("*.py", "*.pyi", "py.typed") for file in package.rglob(kind)
    }
    assert files <= set(packed)
