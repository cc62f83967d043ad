"""Automatic mixed precision."""

from __future__ import annotations

import torch

__all__ = ["get_amp_supported_dtype", "is_bf16_supported"]


def get_amp_supported_dtype() -> list[torch.dtype]:
    """Types that torch.autocast("remote", dtype=...) takes."""
    return [torch.float16, torch.bfloat16, torch.float32]


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """True: every executor has bfloat16, older GPUs by emulation."""
    return True
