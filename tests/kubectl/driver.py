"""One kubectl against one control plane, in a namespace of its own."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Any

SECONDS = 60.0
GROUP = "torchremote.dev/v1alpha1"
# A provider of this name is never served: its machines fail at once and start no agent.
SHELF = "shelf"


def programs() -> list[str]:
    """Each kubectl on the path, and the system's if the path hides it."""
    places = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin"]
    found = [shutil.which("kubectl", path=place) for place in places if place]
    # On merged systems /bin is /usr/bin.
    return list({os.path.realpath(program): program for program in reversed(found) if program}.values())


def machine(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A machine that fails at once."""
    metadata: dict[str, Any] = {"name": name, **({"labels": labels} if labels else {})}
    whole = {"provider": SHELF, "gpu": {"type": "CPU"}, **spec}
    return {"apiVersion": GROUP, "kind": "RemoteMachine", "metadata": metadata, "spec": whole}


class Kubectl:
    """Runs commands; the namespace goes with each."""

    def __init__(self, program: str, env: dict[str, str], namespace: str, folder: Path) -> None:
        self.program, self.env, self.namespace, self.folder = program, env, namespace, folder
        self.running: list[Running] = []

    def run(self, *words: str, given: object = None, **env: str) -> subprocess.CompletedProcess[str]:
        """Runs a command; `given`, text or an object, is its standard input."""
        text = given if isinstance(given, str) or given is None else json.dumps(given)
        command = [self.program, "--namespace", self.namespace, *words]
        return subprocess.run(
            command,
            env={**self.env, **env},
            cwd=self.folder,
            input=text,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def __call__(self, *words: str, given: object = None, **env: str) -> str:
        """Runs a command that must succeed; returns what it printed."""
        done = self.run(*words, given=given, **env)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def refused(self, *words: str, given: object = None, code: int = 1, **env: str) -> str:
        """Runs a command that must fail; returns what it said."""
        done = self.run(*words, given=given, **env)
        assert done.returncode == code, f"kubectl {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stderr

    def get(self, *words: str) -> Any:
        """An object or list."""
        return json.loads(self("get", *words, "-o", "json"))

    def start(self, *words: str) -> Running:
        """Starts a command that goes on."""
        running = Running([self.program, "--namespace", self.namespace, *words], self.env, self.folder)
        self.running.append(running)
        return running

    def file(self, name: str, content: object) -> str:
        """Writes a file; returns its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def close(self) -> None:
        """Ends what still runs."""
        for running in self.running:
            running.close()


class Running:
    """A command whose lines come one after the other."""

    def __init__(self, command: list[str], env: dict[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            command,
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.errors: list[str] = []
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        out, err = self.process.stdout, self.process.stderr
        self.readers = [
            threading.Thread(target=self._read, args=(out,), daemon=True),
            threading.Thread(target=lambda: self.errors.extend(err), daemon=True),
        ]
        for reader in self.readers:
            reader.start()

    def _read(self, out: IO[str]) -> None:
        for line in out:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def line(self) -> str:
        """The next line."""
        line = self.lines.get(timeout=SECONDS)
        assert line is not None, f"it has ended: {''.join(self.errors)}"
        return line

    def until(self, *words: str) -> str:
        """The first line that holds all the words."""
        seen = []
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            seen.append(self.line())
            if all(word in seen[-1] for word in words):
                return seen[-1]
        raise AssertionError(f"no line with {words}: {seen}")

    def finish(self) -> tuple[int, str]:
        """Waits for its end: the exit code and all its errors."""
        code = self.process.wait(SECONDS)
        for reader in self.readers:
            reader.join(SECONDS)
        return code, "".join(self.errors)

    def close(self) -> None:
        """Ends it."""
        self.process.kill()
        self.process.wait(SECONDS)
