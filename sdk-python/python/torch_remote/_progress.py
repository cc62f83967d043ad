"""What a waiting user sees: one line, rewritten on a terminal; a line per change elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

__all__ = ["Progress", "note"]

_AGAIN_SECONDS = 30.0


def _stream() -> TextIO:
    # In a notebook standard error is shown as an alarm.
    return sys.stdout if "ipykernel" in sys.modules else sys.stderr


def note(message: str) -> None:
    """One plain line."""
    print(f"torch_remote: {message}", file=_stream(), flush=True)


class Progress:
    """A line that says what is waited for and how long it has been."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._start = time.monotonic()
        self._last, self._printed, self._width = "", 0.0, 0

    def show(self, message: str) -> None:
        """Replaces the line on a terminal; elsewhere prints when the message changed, and every 30 s."""
        if self._quiet:
            return
        now = time.monotonic()
        stream = _stream()
        line = f"torch_remote: {message} ({now - self._start:.0f} s)"
        if stream.isatty():
            print(f"\r{line:<{self._width}}", end="", file=stream, flush=True)
            self._width = len(line)
        elif message != self._last or now - self._printed >= _AGAIN_SECONDS:
            print(line, file=stream, flush=True)
            self._printed = now
        self._last = message

    def done(self, message: str) -> None:
        """The closing line."""
        if not self._quiet:
            start = "\r" if self._width else ""
            print(f"{start}{'torch_remote: ' + message:<{self._width}}", file=_stream(), flush=True)
            self._width = 0

    def abandon(self) -> None:
        """Leaves the line as it is, so that what comes next starts on its own."""
        if self._width:
            print(file=_stream(), flush=True)
            self._width = 0
