"""Sets up what `make` needs and runs what it asks: `python3 bootstrap.py demo|test|check|bench|bless|sqlx`.

Standard library only. Owns the virtual environment, the build folder and the order of the steps; leaves what a step does to cargo, pytest and
examples/demo.py. Everything it makes lies in ${XDG_CACHE_HOME:-~/.cache}/torch-remote, is shared between clones, and may be deleted at any time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch-remote"
RUST = (1, 94)
PYTHON = (3, 10)
# One set of packages and features for every cargo call, so that no dependency is compiled twice.
WORKSPACE = ["--workspace", "--features", "torch-remote-agent/torch"]
MOST_WORKERS = 4  # of pytest, each with a control plane, a database and agents of its own
QUIET_SECONDS = 8  # a step that prints nothing for this long is reported as running
BUILD_GIB = 14  # free space asked for: 6 for the virtual environment, 8 for the build


class Failed(Exception):
    """A step that cannot go on; the text says what, why and what to do."""


class Steps:
    """Runs commands one after the other and remembers how long each took."""

    def __init__(self) -> None:
        self.times: list[tuple[str, float]] = []

    def run(
        self, name: str, command: list[str], env: dict[str, str], condensed: bool = False, cwd: Path = ROOT
    ) -> None:
        """Runs `command`; prints its lines, or, `condensed`, a line every few seconds and all of it when it fails."""
        print(f"== {name}: {' '.join(command)}", flush=True)
        start = time.monotonic()
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        watch = Watch(name, start, condensed)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                watch.line(line.rstrip("\n"))
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            watch.stop()
            self.times.append((name, time.monotonic() - start))
        if code != 0:
            if condensed:
                print("\n".join(watch.last), flush=True)
            raise Failed(f"{name} failed (exit code {code}): {' '.join(command)}")

    def summary(self) -> None:
        for name, seconds in self.times:
            print(f"   {seconds:7.1f} s  {name}")
        print(f"   {sum(seconds for _, seconds in self.times):7.1f} s  in all", flush=True)


class Watch:
    """Echoes a step's output and says that it still runs when it is silent."""

    def __init__(self, name: str, start: float, condensed: bool) -> None:
        self.name, self.start, self.condensed = name, start, condensed
        self.last: deque[str] = deque(maxlen=80)
        self.lines, self.printed = 0, time.monotonic()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)
        self.thread.start()

    def line(self, text: str) -> None:
        self.last.append(text)
        self.lines += 1
        if not self.condensed or re.match(r"\s*(warning|error)\b|ERROR", text):
            self._print(text)

    def stop(self) -> None:
        self.done.set()
        self.thread.join()

    def _beat(self) -> None:
        while not self.done.wait(1.0):
            if time.monotonic() - self.printed >= QUIET_SECONDS:
                latest = " ".join(self.last[-1].split())[:110] if self.last else ""
                self._print(f"   … {self.name}, {time.monotonic() - self.start:.0f} s, line {self.lines}: {latest}")

    def _print(self, text: str) -> None:
        self.printed = time.monotonic()
        print(text, flush=True)


def check_prerequisites() -> None:
    """Names everything that is missing, in one go."""
    missing = []
    if sys.version_info < PYTHON:
        missing.append(
            f"Python {PYTHON[0]}.{PYTHON[1]} or later: this is {sys.version.split()[0]}; run `make PYTHON=/path/to/a/newer/python3`"
        )
    for module in ("venv", "ensurepip"):
        try:
            __import__(module)
        except ImportError:
            missing.append(
                f"Python's {module} module: on Debian and Ubuntu `apt install python3-venv`, elsewhere it is part of Python"
            )
    rust = output(["rustc", "--version"])
    version = re.search(r"(\d+)\.(\d+)", rust or "")
    if version is None or shutil.which("cargo") is None:
        missing.append(f"a Rust toolchain {RUST[0]}.{RUST[1]} or later (cargo and rustc): see https://rustup.rs")
    elif (int(version[1]), int(version[2])) < RUST:
        missing.append(f"Rust {RUST[0]}.{RUST[1]} or later: this is {version[0]}; run `rustup update stable`")
    if not any(shutil.which(name) for name in (os.environ.get("CXX") or "c++", "g++", "clang++")):
        missing.append(
            "a C++20 compiler: on Debian and Ubuntu `apt install g++`, on Fedora `dnf install gcc-c++`, on macOS `xcode-select --install`"
        )
    if shutil.which("make") is None:
        missing.append(
            "make: on Debian and Ubuntu `apt install make`, on Fedora `dnf install make`, on macOS `xcode-select --install`"
        )
    if missing:
        raise Failed("what is needed and missing:\n" + "\n".join(f"  - {what}" for what in missing))


def output(command: list[str]) -> str | None:
    """What `command` prints, None where it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def make_environment(steps: Steps) -> Path:
    """The virtual environment for the pinned requirements and this Python; made anew when either changes."""
    pins = (ROOT / "requirements.txt").read_bytes()
    key = hashlib.sha256(pins + sys.version.encode() + sysconfig.get_platform().encode()).hexdigest()[:12]
    folder = CACHE / f"venv-{key}"
    if (folder / ".complete").exists():
        return folder
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(
            f"cannot make {CACHE}: {error.strerror}; set XDG_CACHE_HOME to a folder you can write to"
        ) from error
    free = shutil.disk_usage(CACHE).free / 2**30
    if free < BUILD_GIB:
        raise Failed(
            f"{CACHE} has {free:.1f} GiB free and {BUILD_GIB} are needed; free some, or set XDG_CACHE_HOME to a folder on another disk"
        )
    print(
        "== once: a virtual environment with the pinned requirements. Downloads 2.9 GB on Linux (torch and the CUDA libraries it needs 2.6 GB, the rest 0.3 GB)\n"
        f"   and takes 6 GB in {folder}. Then Rust crates, 0.1 GB, and their build, up to 6 GB in {build_folder()}.",
        flush=True,
    )
    shutil.rmtree(folder, ignore_errors=True)
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    steps.run("virtual environment", [sys.executable, "-m", "venv", str(folder)], env)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--progress-bar", "off", "-r", "requirements.txt"]
    steps.run("install requirements", pip, env, condensed=True)
    (folder / ".complete").touch()
    return folder


def build_folder() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR") or CACHE / "target")


def build_environment(venv: Path) -> dict[str, str]:
    """The variables every cargo, pytest and demo process gets."""
    python = venv / "bin" / "python"
    site = output([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
    if site is None:
        raise Failed(f"{python} does not run; delete {venv} and run this again")
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONHOME", "LIBTORCH_USE_PYTORCH", "MAKEFLAGS", "MAKELEVEL")
    }
    env.update(
        VIRTUAL_ENV=str(venv),
        PATH=os.pathsep.join([str(build_folder() / "debug"), str(venv / "bin"), os.environ.get("PATH", "")]),
        PYTHONPATH=str(ROOT / "sdk-python" / "python"),
        CARGO_TARGET_DIR=str(build_folder()),
        LIBTORCH=str(Path(site.strip()) / "torch"),
        PYO3_PYTHON=str(python),
        PYO3_BUILD_EXTENSION_MODULE="1",
        SQLX_OFFLINE="true",
    )
    return env


def build(steps: Steps, env: dict[str, str]) -> None:
    """Binaries and the Python package's native core, which is put beside its Python files."""
    steps.run("build", ["cargo", "build", "--locked", *WORKSPACE], env, condensed=True)
    suffix = "dylib" if sys.platform == "darwin" else "so"
    built = build_folder() / "debug" / f"lib_C.{suffix}"
    placed = ROOT / "sdk-python" / "python" / "torch_remote" / "_C.abi3.so"
    if (
        not placed.exists()
        or placed.stat().st_mtime_ns != built.stat().st_mtime_ns
        or placed.stat().st_size != built.stat().st_size
    ):
        # A new file, then a rename: a process that has the old one mapped keeps it.
        fresh = placed.with_suffix(f".{os.getpid()}")
        shutil.copy2(built, fresh)
        fresh.replace(placed)


def previous_commit(root: Path) -> str | None:
    """The last commit before the newest migration; None where no history says."""
    git = ["git", "-C", str(root)]
    if (output([*git, "rev-parse", "--show-prefix"]) or "no repository").strip():
        return None
    newest = max((root / "migrations").glob("*.sql")).relative_to(root)
    added = output([*git, "log", "-1", "--diff-filter=A", "--format=%H", "--", str(newest)])
    if added is None:
        return None
    # A migration that is not committed yet is newer than every commit.
    before = f"{added.strip()}^" if added.strip() else "HEAD"
    commit = output([*git, "rev-parse", "--verify", "--quiet", before])
    return commit.strip() if commit else None


def renumber(source: Path, commit: str) -> None:
    """Gives the workspace's own packages a version of their own, which names the commit.

    Cargo names what it builds by package and version, not by where the source is. In one build folder the same
    version of two releases is one file, and the tests of one are linked with the library of the other.
    """
    version = rf'version = "\1-previous.g{commit[:12]}"'
    manifest, lock = source / "Cargo.toml", source / "Cargo.lock"
    text, count = re.subn(r'(?m)^version = "([^"]+)"$', version, manifest.read_text(), count=1)
    if not count:
        raise SystemExit(f"bootstrap: {manifest} names no version of its packages: [workspace.package] version")
    manifest.write_text(text)
    packages = lock.read_text().split("[[package]]")
    own = (
        package if "\nsource = " in package else re.sub(r'(?m)^version = "([^"]+)"$', version, package)
        for package in packages[1:]
    )
    lock.write_text("[[package]]".join([packages[0], *own]))


def build_previous_server(steps: Steps, env: dict[str, str]) -> dict[str, str]:
    """Names the previous migration's server to the test that upgrades from it. What both releases depend on is compiled once."""
    commit = previous_commit(ROOT)
    if commit is None:
        print("== no server of the previous migration: it is built from the git history, and here is none", flush=True)
        return env
    folder = build_folder() / "previous" / commit[:12]
    server = folder / "debug" / "torch-remote"
    if not server.exists():
        source = folder / "source"
        source.mkdir(parents=True, exist_ok=True)
        archive = source.with_suffix(".tar")
        steps.run("previous source", ["git", "archive", "--output", str(archive), commit], env)
        steps.run("unpack it", ["tar", "-xf", str(archive), "-C", str(source)], env)
        renumber(source, commit)
        shared = {"CARGO_BUILD_BUILD_DIR": str(build_folder()), "CARGO_TARGET_DIR": str(folder)}
        command = ["cargo", "build", "--locked", *WORKSPACE, "--bin", "torch-remote"]
        steps.run("build the previous server", command, {**env, **shared}, condensed=True, cwd=source)
    return {**env, "TORCH_REMOTE_PREVIOUS_SERVER": str(server)}


def run_test(steps: Steps, env: dict[str, str], rest: list[str]) -> None:
    build(steps, env)
    env = build_previous_server(steps, env)
    steps.run("build tests", ["cargo", "test", "--locked", *WORKSPACE, "--no-run"], env, condensed=True)
    steps.run("cargo test", ["cargo", "test", "--locked", *WORKSPACE, "--no-fail-fast"], env)
    run_pytest(steps, env, rest)


def run_pytest(steps: Steps, env: dict[str, str], rest: list[str]) -> None:
    folders = [folder for folder in ("sdk-python/tests", "tests") if any((ROOT / folder).rglob("test_*.py"))]
    if any((ROOT / word.partition("::")[0]).exists() for word in rest if not word.startswith("-")):
        folders = []  # those that are named, and no others
    if folders or rest:
        # The tests of a file share what they start, so a file stays with one worker. `-n0` shows it all in one process, as a debugger needs it.
        workers = ["-n", str(min(os.cpu_count() or 1, MOST_WORKERS)), "--dist", "loadfile"]
        steps.run("pytest", [env["PYO3_PYTHON"], "-m", "pytest", *workers, *folders, *rest], env)


def run_check(steps: Steps, env: dict[str, str], rest: list[str]) -> None:
    steps.run("fmt", ["cargo", "fmt", "--all", "--check"], env)
    steps.run(
        "clippy",
        ["cargo", "clippy", "--locked", *WORKSPACE, "--all-targets", "--", "-D", "warnings"],
        env,
        condensed=True,
    )
    steps.run("ruff", ["ruff", "check", "."], env)
    steps.run("ruff format", ["ruff", "format", "--check", "."], env)
    steps.run("mypy", ["mypy", "--strict", "sdk-python/python/torch_remote", "bootstrap.py"], env)
    steps.run("architecture", ["cargo", "test", "--locked", "-p", "torch-remote-tests", "--test", "architecture"], env)


def run_demo(steps: Steps, env: dict[str, str], rest: list[str]) -> None:
    build(steps, env)
    steps.run("demo", [env["PYO3_PYTHON"], "-u", "examples/demo.py", *rest], env)


def run_bench(steps: Steps, env: dict[str, str], rest: list[str]) -> None:
    """All programs, or the one that the first word names, with the words after it: `make bench ARGS='api --quick'`."""
    programs = {path.stem.removeprefix("bench_"): path for path in (ROOT / "tests" / "bench").glob("bench_*.py")}
    if rest and rest[0] not in programs:
        raise Failed(f"no bench is named {rest[0]}: say one of {', '.join(sorted(programs))}, then its own arguments")
    if rest:
        programs, rest = {rest[0]: programs[rest[0]]}, rest[1:]
    build(steps, env)
    # What is measured of the control plane is what a release does.
    command = ["cargo", "build", "--locked", "--release", "-p", "torch-remote", "-p", "torch-remote-tests"]
    steps.run("build release", command, env, condensed=True)
    env = {
        **env,
        "PYTHONPATH": os.pathsep.join([env["PYTHONPATH"], str(ROOT / "tests")]),
        "TORCH_REMOTE_RELEASE": str(build_folder() / "release"),
    }
    for _, program in sorted(programs.items()):
        steps.run(program.stem, [env["PYO3_PYTHON"], "-u", str(program.relative_to(ROOT)), *rest], env)


def run_bless(steps: Steps, env: dict[str, str], rest: list[str]) -> None:
    env = {**env, "BLESS": "1"}
    build(steps, env)
    steps.run("cargo test", ["cargo", "test", "--locked", *WORKSPACE, "--no-fail-fast", *rest], env)
    run_pytest(steps, env, [])


def run_sqlx(steps: Steps, env: dict[str, str], rest: list[str]) -> None:
    """Saves what the database says of each statement. A new statement does not compile before that, so a program of an earlier build does it."""
    programs = built_programs("sqlx_offline")
    if not programs:
        command = ["cargo", "test", "--locked", "-p", "torch-remote", "--test", "sqlx_offline", "--no-run"]
        steps.run("build", command, env, condensed=True)
        programs = built_programs("sqlx_offline")
    here = {"CARGO": shutil.which("cargo") or "cargo", "CARGO_MANIFEST_DIR": str(ROOT / "controlplane")}
    env = {**env, **here, "BLESS": "1", "SQLX_OFFLINE": "false"}
    steps.run("sqlx", [str(programs[-1]), *rest], env, cwd=ROOT / "controlplane")


def built_programs(test: str) -> list[Path]:
    """Programs of a test that earlier builds left, the newest last."""
    found = (build_folder() / "debug" / "deps").glob(f"{test}-*")
    return sorted((path for path in found if path.suffix == ""), key=lambda path: path.stat().st_mtime)


TARGETS = {
    "demo": run_demo,
    "test": run_test,
    "check": run_check,
    "bench": run_bench,
    "bless": run_bless,
    "sqlx": run_sqlx,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Sets up what `make` needs and runs what it asks.")
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="given on to the program that the target runs")
    arguments = parser.parse_args()
    steps = Steps()
    try:
        check_prerequisites()
        venv = make_environment(steps)
        TARGETS[arguments.target](steps, build_environment(venv), arguments.rest)
    except Failed as error:
        steps.summary()
        print(f"bootstrap: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130
    steps.summary()
    return 0


if __name__ == "__main__":
    sys.exit(main())
