"""The end of the process, and its children: leases are given back at exit and on SIGTERM; a forked child has none.

Leases that another process can take over (a name, a notebook) are left to `reconnect_window` at exit; all others end at once. A program's own signal
handlers stay as they are: ours is set only where Python would have died without running its exit functions.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from types import FrameType

__all__ = ["forked", "refuse_fork", "watch_end"]

_EXIT_SECONDS = 5.0
_watching = False
_forked = False


def forked() -> bool:
    """Whether this is a forked child of the process that imported torch_remote."""
    return _forked


def refuse_fork() -> None:
    """Raises in a forked child: the sessions and their threads belong to the parent.

    Raises:
        RuntimeError: as torch.cuda does in the same place.
    """
    if _forked:
        raise RuntimeError(
            "Cannot use remote devices in a forked subprocess. To use them with multiprocessing, use the 'spawn' start method."
        )


def watch_end() -> None:
    """Gives leases back when the process ends. Safe to repeat."""
    global _watching
    if _watching:
        return
    _watching = True
    atexit.register(_release_all)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminated)


def _release_all() -> None:
    from . import _leases

    if _forked:
        return
    for lease in _leases.held():
        lease._end(goodbye=not lease._identity.resumable, seconds=_EXIT_SECONDS)


def _terminated(number: int, frame: FrameType | None) -> None:
    """Gives leases back, then dies of the signal as if there had been no handler."""
    signal.signal(number, signal.SIG_DFL)
    try:
        _release_all()
    finally:
        os.kill(os.getpid(), number)


def _mark_forked() -> None:
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_mark_forked)
