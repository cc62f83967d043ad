"""Which lease a call means: the name given, the notebook's path, or this process alone."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import socket
import sys
import uuid
from collections.abc import Mapping
from pathlib import PurePath

__all__ = ["Identity", "identify", "notebook_path"]

_LONGEST = 63


class Identity:
    """The lease's name, and whether another process may take it over by that name."""

    def __init__(self, name: str, resumable: bool, why: str) -> None:
        self.name, self.resumable, self.why = name, resumable, why


def identify(name: str | None, selector: str) -> Identity:
    """The identity of a call with this selector (all that says which GPUs are meant).

    Raises:
        ValueError: `name` cannot be the name of an object.
    """
    if name is not None:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name):
            raise ValueError(
                f"name={name!r} cannot be a lease's name: lower-case letters, digits and '-', at most 63, such as 'my-training'"
            )
        return Identity(name, True, f"the name {name}")
    notebook = notebook_path()
    if notebook is not None:
        who = f"{_user()}@{socket.gethostname()}:{notebook}:{selector}"
        digest = hashlib.sha256(who.encode()).hexdigest()[:10]
        return Identity(_fit(f"nb-{PurePath(notebook).stem}", digest), True, f"the notebook {notebook}")
    return Identity(_fit(f"{_user()}-{selector.split(',')[0]}", uuid.uuid4().hex[:10]), False, "this process")


def notebook_path() -> str | None:
    """Path of the notebook whose kernel this process is; None outside notebooks."""
    if "ipykernel" not in sys.modules:
        return None
    # Jupyter servers and nbclient's own caller name it in the environment, VS Code in the user's namespace.
    session = os.environ.get("JPY_SESSION_NAME")
    if session:
        return session
    from IPython import get_ipython  # type: ignore[attr-defined, unused-ignore]

    shell = get_ipython()  # type: ignore[no-untyped-call, unused-ignore]
    namespace: Mapping[str, object] = getattr(shell, "user_ns", None) or {}
    named = namespace.get("__vsc_ipynb_file__") or namespace.get("__session__")
    return str(named) if named else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid{os.getuid()}"


def _fit(start: str, end: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", start.lower()).strip("-") or "lease"
    return f"{plain[: _LONGEST - len(end) - 1].rstrip('-')}-{end}"
