"""What `torch-remote` shows a person at a terminal, and not to a program that reads what it prints: colour, and how far it is."""

from __future__ import annotations

import json
import os
import pty
import subprocess

import pytest

from driver import SECONDS, machine
from stack import Stack

GREEN, RED = "\x1b[32m", "\x1b[31m"
LINE_ANEW = "\r\x1b[K"


@pytest.fixture
def person(server: Stack, namespace: str) -> Person:
    return Person(server, namespace)


class Person:
    """At a terminal of 120 columns, in a namespace of the test's own."""

    def __init__(self, server: Stack, namespace: str) -> None:
        self.server, self.namespace = server, namespace
        self.env = {name: value for name, value in server.env.items() if name != "NO_COLOR"}
        self.env.update(TERM="xterm-256color", COLUMNS="120")

    def sees(self, *words: str, given: str | None = None, code: int = 0, **env: str) -> str:
        """What appears on the terminal of a command that ends with this code. Its input, where given, is a file."""
        ours, theirs = pty.openpty()
        read, write = os.pipe()
        if given is not None:
            assert os.write(write, given.encode()) == len(given)
        os.close(write)
        command = ["torch-remote", *words, "--namespace", self.namespace]
        process = subprocess.Popen(command, env={**self.env, **env}, stdin=read, stdout=theirs, stderr=theirs)
        os.close(theirs)
        os.close(read)
        seen = b""
        try:
            while chunk := os.read(ours, 4096):
                seen += chunk
        except OSError:
            pass  # the other end is closed
        os.close(ours)
        text = seen.decode().replace("\r\n", "\n")
        assert process.wait(SECONDS) == code, text
        return text

    def pipes(self, *words: str, given: str | None = None, code: int = 0) -> tuple[str, str]:
        """What a program reads of it: output and errors."""
        command = ["torch-remote", *words, "--namespace", self.namespace]
        done = subprocess.run(command, env=self.env, input=given, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout, done.stderr


def fleet(count: int) -> str:
    """Machines that fail at once."""
    return "".join(f"---\n{json.dumps(machine(f'box-{number:02}'))}\n" for number in range(count))


def test_a_table_is_coloured_at_a_terminal_and_plain_elsewhere(person: Person) -> None:
    person.pipes("apply", "-f", "-", given=fleet(1))
    person.pipes("wait", "machine/box-00", "--for=jsonpath={.status.phase}=Failed", "--timeout=30s")
    assert f"{RED}Failed" in person.sees("get", "machines")
    assert f"{GREEN}Active" in person.sees("get", "namespaces", "default")
    plain, _ = person.pipes("get", "machines")
    for same in (person.sees("get", "machines", NO_COLOR="1"), person.sees("get", "machines", TERM="dumb")):
        assert [line.split()[:3] for line in same.splitlines()] == [line.split()[:3] for line in plain.splitlines()]
    assert "\x1b" not in plain
    assert f"{RED}Failed" in person.pipes("get", "machines", "--color=always")[0]


def test_an_apply_of_many_counts_while_a_person_watches(person: Person) -> None:
    seen = person.sees("apply", "-f", "-", given=fleet(30))
    assert f"{LINE_ANEW}written 30 of 30" in seen
    left = [line.rpartition(LINE_ANEW)[2] for line in seen.split("\n")]
    told = sorted(line for line in left if line)
    assert told == [f"remotemachine.torchremote.dev/box-{number:02} created" for number in range(30)]
    out, err = person.pipes("apply", "-f", "-", given=fleet(30))
    assert (len(out.splitlines()), "\x1b" in out, err) == (30, False, "")


def test_a_wait_says_on_the_way_how_it_stands_and_to_a_program_only_how_it_ended(person: Person) -> None:
    off = machine("off", suspend=True)
    person.pipes("apply", "-f", "-", given=json.dumps(off))
    person.pipes("wait", "machine/off", "--for=jsonpath={.status.phase}=Suspended", "--timeout=30s")
    waiting = ("wait", "machine/off", "--for=condition=Ready", "--timeout=1s")
    progress = "remotemachines/off: it has no condition Ready (phase Suspended), 0 s\n"
    assert progress in person.sees(*waiting, code=1)
    out, err = person.pipes(*waiting, code=1)
    assert (out, progress in err) == ("", False)
    assert "it has no condition Ready (phase Suspended)" in err
