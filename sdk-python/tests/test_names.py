"""What is decided before anything is asked: durations, GPU types, identities, texts."""

from __future__ import annotations

import datetime
import sys
import types

import pytest

import torch_remote
from torch_remote import _duration, _identity, _progress, errors


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("90s", "1m30s"),
        ("1h30m", "1h30m"),
        ("2d", "48h"),
        ("250ms", "250ms"),
        (90, "1m30s"),
        (0.5, "500ms"),
        (datetime.timedelta(hours=8), "8h"),
    ],
)
def test_a_duration_is_written_as_the_api_writes_it(given: _duration.Duration, written: str) -> None:
    assert _duration.text(given) == written
    assert _duration.seconds(written, "duration") == _duration.seconds(given, "duration")


@pytest.mark.parametrize("given", ["soon", "", "5", "-5s", "1.5h", "5 m", "0s", 0, -1])
def test_what_is_no_duration_is_refused_by_the_name_of_its_argument(given: _duration.Duration) -> None:
    with pytest.raises(ValueError, match="idle_timeout"):
        _duration.text(given, "idle_timeout")


def test_each_gpu_type_is_known_by_the_name_manifests_use() -> None:
    names = ["T4", "L4", "A10G", "A100-40GB", "A100-80GB", "L40S", "H100", "H200", "B200", "CPU"]
    assert [one.value for one in torch_remote.GPUType] == names
    assert torch_remote.GPUType.parse("A100-80GB") is torch_remote.GPUType.A100_80GB


def test_outside_notebooks_each_process_has_an_identity_of_its_own() -> None:
    one, two = (_identity.identify(None, "A100-80GB,1,Exclusive") for _ in range(2))
    assert one.name != two.name
    assert not one.resumable
    assert len(one.name) <= 63
    assert "a100-80gb" in one.name


def test_a_given_name_is_the_identity_and_must_be_one() -> None:
    assert (_identity.identify("mine", "x").name, _identity.identify("mine", "x").resumable) == ("mine", True)
    for wrong in ("Mine", "a_b", "-a", "a" * 64, ""):
        with pytest.raises(ValueError, match="cannot be a lease's name"):
            _identity.identify(wrong, "x")


def test_a_notebooks_path_is_its_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setenv("JPY_SESSION_NAME", "/work/My Training (3).ipynb")
    first, again = (_identity.identify(None, "CPU,1") for _ in range(2))
    assert first.name == again.name
    assert first.resumable
    assert first.name.startswith("nb-my-training-3-")
    other_gpus = _identity.identify(None, "T4,1").name
    monkeypatch.setenv("JPY_SESSION_NAME", "/work/other.ipynb")
    assert len({first.name, other_gpus, _identity.identify(None, "CPU,1").name}) == 3


def test_an_error_says_what_why_and_what_to_do() -> None:
    error = errors.from_reason("Unsatisfiable", "lease x cannot be had", "no machine has 8 GPUs", "ask for fewer")
    assert isinstance(error, errors.Unsatisfiable)
    assert str(error) == "lease x cannot be had: no machine has 8 GPUs. Ask for fewer."
    unknown = errors.from_reason("SomethingNew", "what")
    assert (type(unknown), unknown.reason, str(unknown)) == (errors.TorchRemoteError, "SomethingNew", "what")


def test_every_error_class_is_public_and_has_a_reason_of_its_own() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert {one.__name__ for one in classes} <= set(errors.__all__) & set(torch_remote.__all__)
    assert len({one.reason for one in classes}) == len(classes)


def test_progress_is_a_line_per_change_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress = _progress.Progress(quiet=False)
    for message in ("waiting", "waiting", "launching"):
        progress.show(message)
    progress.done("leased")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        f"torch_remote: {what}" for what in ("waiting", "launching", "leased")
    ]
    silent = _progress.Progress(quiet=True)
    silent.show("waiting")
    silent.done("leased")
    assert capsys.readouterr() == ("", "")
