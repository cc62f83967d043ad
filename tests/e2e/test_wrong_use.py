"""Wrong use is answered before anything is sent: what, why, and what to do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import torch_remote
from stack import ROOT, Stack
from torch_remote import errors


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    base = {k: v for k, v in os.environ.items() if k != "KUBECONFIG" and not k.startswith("TORCH_REMOTE_")}
    whole = {**base, "PYTHONPATH": str(ROOT / "sdk-python" / "python"), **env}
    return subprocess.run([sys.executable, "-c", code], env=whole, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("gpu", "hint"), [("A1000", "did you mean"), ("A100", "'A100-40GB' or 'A100-80GB'")])
def test_a_gpu_type_that_does_not_exist_is_refused_with_what_exists(gpu: str, hint: str) -> None:
    with pytest.raises(ValueError, match="choose one of T4, L4") as caught:
        torch_remote.lease(gpu=gpu)
    assert hint in str(caught.value)


def test_a_duration_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match='write it as "90s"'):
        torch_remote.lease(gpu="CPU", duration="soon")


def test_a_lease_that_nothing_can_satisfy_fails_at_once(stack: Stack) -> None:
    with pytest.raises(errors.Unsatisfiable, match="H200"):
        torch_remote.lease(gpu="H200", quiet=True)


def test_a_namespace_that_does_not_exist_is_named(stack: Stack) -> None:
    with pytest.raises(errors.TorchRemoteError, match="no-such-team"):
        torch_remote.lease(gpu="CPU", namespace="no-such-team", quiet=True)


def test_no_control_plane_configured_says_how_to_name_one(tmp_path: Path) -> None:
    done = python("import torch_remote; torch_remote.lease(gpu='CPU')", HOME=str(tmp_path))
    assert done.returncode != 0
    assert "NoControlPlane: no control plane is configured. Start one with `torch-remote up`" in done.stderr


def test_no_control_plane_at_the_address_names_the_address(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    done = python("import torch_remote; torch_remote.lease(gpu='CPU')", HOME=str(tmp_path), TORCH_REMOTE_SERVER=address)
    assert done.returncode != 0
    assert f"NoControlPlane: no control plane answers at {address}" in done.stderr
    assert "TORCH_REMOTE_SERVER" in done.stderr


def test_a_wrong_token_is_refused_as_unauthorized(stack: Stack, tmp_path: Path) -> None:
    wrong = tmp_path / "kubeconfig"
    done = subprocess.run(
        ["kubectl", "config", "view", "--raw", "--flatten", "-o", "json"],
        env=stack.env,
        capture_output=True,
        text=True,
        check=True,
    )
    import json

    config = json.loads(done.stdout)
    config["users"][0]["user"] = {"token": "not.a.token"}
    wrong.write_text(json.dumps(config))
    client = python("import torch_remote; torch_remote.lease(gpu='CPU')", HOME=str(tmp_path), KUBECONFIG=str(wrong))
    assert client.returncode != 0
    assert "torch_remote.errors.Unauthorized" in client.stderr


def test_a_device_without_a_lease_raises_no_lease(tmp_path: Path) -> None:
    code = """
import torch, torch_remote
assert not torch.remote.is_available() and torch.remote.device_count() == 0
for use in (lambda: torch.ones(3, device="remote"), lambda: torch.ones(3).to("remote:0"), lambda: torch.ones(3).remote()):
    try:
        use()
    except torch_remote.NoLease as error:
        print(error)
"""
    done = python(code, HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("torch_remote.lease(gpu=...)" in line and "TORCH_REMOTE_GPU" in line for line in lines)


def test_a_cpu_tensor_mixed_in_is_refused_before_anything_is_sent(device: torch.device) -> None:
    x = torch.ones(3, device=device)
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.ones(3)
    # A number may come as a CPU tensor, as on CUDA.
    assert (x + torch.tensor(2.0)).cpu().tolist() == [3.0] * 3


def test_tensors_of_two_leases_mixed_are_refused(device: torch.device, stack: Stack) -> None:
    with torch_remote.lease(gpu="CPU", machine="shared", name="the-other", quiet=True) as other:
        with pytest.raises(RuntimeError, match="same device"):
            torch.ones(3, device=device) + torch.ones(3, device=other.device)
        # Copies between them are asked for, and work.
        assert torch.ones(3, device=device).to(other.device).sum().item() == 3.0


def test_use_after_release_raises_remote_lost_and_never_a_value(stack: Stack) -> None:
    lease = torch_remote.lease(gpu="CPU", machine="shared", name="short-lived", quiet=True)
    x = torch.ones(3, device=lease.device)
    lease.release()
    with pytest.raises(torch_remote.RemoteLost):
        x.cpu()
    with pytest.raises(torch_remote.RemoteLost):
        x + 1
    with pytest.raises((torch_remote.NoLease, torch_remote.RemoteLost)):
        torch.ones(3, device=lease.device)


def torch_of_another_minor(folder: Path, version: str | None) -> str:
    """A path where Python finds torch_remote and (or not) a torch of that version, and no other."""
    package = folder / "site"
    package.mkdir()
    (package / "torch_remote").symlink_to(ROOT / "sdk-python" / "python" / "torch_remote")
    if version is not None:
        (package / "torch").mkdir()
        (package / "torch" / "__init__.py").write_text("raise AssertionError('imported before it was checked')")
        (package / f"torch-{version}.dist-info").mkdir()
        (package / f"torch-{version}.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
        )
    return str(package)


@pytest.mark.parametrize(
    ("version", "why"), [(None, "torch is not installed"), ("2.12.1", "torch 2.12.1 is installed")]
)
def test_torch_missing_or_of_another_minor_says_which_to_install(tmp_path: Path, version: str | None, why: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {torch_of_another_minor(tmp_path, version)!r}); import torch_remote",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert why in done.stderr
    assert "pip install 'torch==2.13.*'" in done.stderr


def test_importing_starts_no_thread_and_opens_no_connection(tmp_path: Path) -> None:
    code = """
import os, socket, torch
def refuse(*arguments):
    raise AssertionError("a connection at import")
socket.socket.connect = refuse
before = set(os.listdir("/proc/self/task"))
import torch_remote
print(sorted(set(os.listdir("/proc/self/task")) - before))
"""
    done = python(code, HOME=str(tmp_path), KUBECONFIG=str(tmp_path / "missing"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
