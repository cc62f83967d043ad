"""The set-up says what is missing before it downloads anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stack import ROOT


def bootstrap(target: str, path: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": str(path), "HOME": str(cache), "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, str(ROOT / "bootstrap.py"), target]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def program(folder: Path, name: str, prints: str = "") -> None:
    (folder / name).write_text(f"#!/bin/sh\necho '{prints}'\n")
    (folder / name).chmod(0o755)


def test_everything_that_is_missing_is_named_at_once_with_how_to_get_it(tmp_path: Path) -> None:
    bare, cache = tmp_path / "bin", tmp_path / "cache"
    bare.mkdir()
    done = bootstrap("demo", bare, cache)
    assert done.returncode == 1
    for what in (
        "a Rust toolchain 1.94 or later (cargo and rustc): see https://rustup.rs",
        "C++",
        "apt install g++",
        "apt install make",
    ):
        assert what in done.stderr
    assert not cache.exists(), "something was made although it cannot be used"


def test_a_toolchain_that_is_too_old_is_named_with_its_version(tmp_path: Path) -> None:
    for name in ("cargo", "g++", "c++", "make"):
        program(tmp_path, name)
    program(tmp_path, "rustc", "rustc 1.80.1 (3f5fd8dd4 2024-08-06)")
    done = bootstrap("test", tmp_path, tmp_path / "cache")
    assert done.returncode == 1
    assert "Rust 1.94 or later: this is 1.80; run `rustup update stable`" in done.stderr
    assert "C++" not in done.stderr


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    for name in ("cargo", "g++", "c++", "make"):
        program(tmp_path, name)
    program(tmp_path, "rustc", "rustc 1.99.0")
    (tmp_path / "cache").write_text("a file, not a folder")
    done = bootstrap("demo", tmp_path, tmp_path / "cache")
    assert done.returncode == 1
    assert f"cannot make {tmp_path}/cache/torch-remote" in done.stderr
    assert "XDG_CACHE_HOME" in done.stderr


def test_an_unknown_target_is_refused(tmp_path: Path) -> None:
    done = bootstrap("dmeo", tmp_path, tmp_path / "cache")
    assert done.returncode == 2
    assert "invalid choice: 'dmeo'" in done.stderr


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench", "bless", "sqlx"])
def test_each_target_of_the_makefile_is_one_of_bootstraps(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert f" {target}" in next(line for line in makefile.splitlines() if line.startswith(".PHONY"))
    assert f'"{target}": run_{target}' in (ROOT / "bootstrap.py").read_text()
