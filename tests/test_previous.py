"""The server that an upgrade begins from is that of the last commit before the newest migration, or none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from stack import ROOT


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bootstrap"] = module
    spec.loader.exec_module(module)
    return module


def git(folder: Path, *arguments: str) -> str:
    named = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run([*named, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def commit(folder: Path, file: str) -> str:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(file)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", file)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def history(tmp_path: Path) -> Path:
    folder = tmp_path / "history"
    folder.mkdir()
    git(folder, "init", "-q")
    commit(folder, "migrations/0001_a.sql")
    return folder


def test_it_is_of_the_commit_before_the_one_that_brought_the_newest_migration(
    bootstrap: ModuleType, history: Path
) -> None:
    before = commit(history, "code")
    commit(history, "migrations/0002_b.sql")
    commit(history, "more code")
    assert bootstrap.previous_commit(history) == before


def test_a_migration_that_is_not_committed_is_newer_than_every_commit(bootstrap: ModuleType, history: Path) -> None:
    (history / "migrations" / "0002_b.sql").write_text("b")
    assert bootstrap.previous_commit(history) == git(history, "rev-parse", "HEAD")


def test_without_the_history_there_is_none(bootstrap: ModuleType, history: Path, tmp_path: Path) -> None:
    assert bootstrap.previous_commit(history) is None, "the first migration of all"
    commit(history, "migrations/0002_b.sql")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{history}", str(shallow))
    assert bootstrap.previous_commit(shallow) is None
    inside = history / "vendored"
    (inside / "migrations").mkdir(parents=True)
    (inside / "migrations" / "0001_a.sql").write_text("a")
    assert bootstrap.previous_commit(inside) is None, "the history of another project"
    alone = tmp_path / "alone"
    (alone / "migrations").mkdir(parents=True)
    (alone / "migrations" / "0001_a.sql").write_text("a")
    assert bootstrap.previous_commit(alone) is None


def packages(lock: Path) -> list[str]:
    return lock.read_text().split("[[package]]")[1:]


def test_its_packages_have_a_version_of_their_own_and_those_it_depends_on_keep_theirs(
    bootstrap: ModuleType, tmp_path: Path
) -> None:
    for name in ("Cargo.toml", "Cargo.lock"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    bootstrap.renumber(tmp_path, "0123456789abcdef")
    assert '-previous.g0123456789ab"\n' in (tmp_path / "Cargo.toml").read_text().split("[workspace.package]")[1]
    pairs = list(zip(packages(ROOT / "Cargo.lock"), packages(tmp_path / "Cargo.lock"), strict=True))
    own = [(before, after) for before, after in pairs if "source = " not in before]
    assert own
    assert all(
        after.splitlines()[2] == before.splitlines()[2][:-1] + '-previous.g0123456789ab"' for before, after in own
    )
    assert [after for before, after in pairs if before == after] == [
        before for before, _ in pairs if "source = " in before
    ]
