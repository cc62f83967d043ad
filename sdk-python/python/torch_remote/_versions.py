"""Which torch this package works with. Imports neither torch nor the native core before it is known that they fit."""

from __future__ import annotations

import importlib.metadata
import re

from .errors import TorchVersionMismatch

__all__ = ["TORCH_MINOR", "__version__", "check_torch"]

__version__ = "0.1.0"
#: The minor version of torch whose C++ interface the native core is compiled for.
TORCH_MINOR = (2, 13)
_FIX = f"install it with `pip install 'torch=={TORCH_MINOR[0]}.{TORCH_MINOR[1]}.*'`"


def check_torch() -> None:
    """Raises unless torch of the right minor is installed.

    Raises:
        TorchVersionMismatch: which is an ImportError too.
    """
    wanted = f"torch_remote {__version__} needs torch {TORCH_MINOR[0]}.{TORCH_MINOR[1]}"
    try:
        found = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        raise TorchVersionMismatch(wanted, "torch is not installed", _FIX) from None
    numbers = re.match(r"(\d+)\.(\d+)", found)
    if numbers is None or (int(numbers[1]), int(numbers[2])) != TORCH_MINOR:
        raise TorchVersionMismatch(wanted, f"torch {found} is installed, whose C++ interface differs", _FIX)
