"""What the device did since the counts were reset: hits, misses, and who waited."""

from __future__ import annotations

from collections.abc import Callable

from torch_remote import _C


def reset() -> None:
    """Starts the counts anew."""
    _C.reset_counters()


def misses() -> dict[str, tuple[int, int, int]]:
    """{operator: (cache misses, Python metas, calls that waited)}; empty when everything was a hit."""
    found: dict[str, tuple[int, int, int]] = _C.misses()
    return found


def count(name: str, device_index: int) -> int:
    """One of the device's counts."""
    return int(_C.stats(device_index)[name])


def steady_state(step: Callable[[], object], device_index: int, warm_up: int = 3) -> dict[str, int]:
    """Counts of one `step` after so many to warm up, with the operators that missed."""
    for _ in range(warm_up):
        step()
    reset()
    step()
    names = ("cache_hits", "cache_misses", "python_metas", "calls_now", "uncached", "reads")
    counts = {name: count(name, device_index) for name in names}
    assert misses() == {}, f"not hits: {misses()}"
    return counts
