"""Durations as the API writes them: whole numbers with the units d, h, m, s, ms, largest first."""

from __future__ import annotations

import datetime
import re

__all__ = ["Duration", "seconds", "text"]

#: `"90s"`, `"1h30m"`, a number of seconds, or a timedelta.
Duration = str | int | float | datetime.timedelta

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d+)(ms|d|h|m|s)")


def seconds(given: Duration, name: str) -> float:
    """How long `given` is.

    Raises:
        ValueError: it is no duration; `name` says which argument it was.
    """
    if isinstance(given, datetime.timedelta):
        return given.total_seconds()
    if isinstance(given, (int, float)):
        return float(given)
    if not isinstance(given, str) or not re.fullmatch(rf"(?:{_PART.pattern})+", given):
        raise ValueError(
            f'{name}={given!r} is no duration: write it as "90s", "15m", "1h30m" or "8h", as a number of seconds, or as a timedelta'
        )
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(given))


def text(given: Duration, name: str = "duration") -> str:
    """`given` in the API's form.

    Raises:
        ValueError: it is no duration, or not above zero.
    """
    left = round(seconds(given, name) * 1000)
    if left <= 0:
        raise ValueError(f"{name}={given!r} must be longer than nothing")
    parts = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
