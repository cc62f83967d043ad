"""Streams and events. A session has one ordered stream; further ones exist as names for it, so that order is never less than what was asked for."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch.types import Device

from ._device import index_of

__all__ = ["Event", "Stream", "StreamContext", "current_stream", "default_stream", "set_stream", "stream"]


class Stream(torch.Stream):
    """A stream of a remote device."""

    def __new__(cls, device: Device = None, priority: int = 0, **kwargs: Any) -> Stream:
        if kwargs:
            return super().__new__(cls, **kwargs)
        return super().__new__(cls, torch.device("remote", index_of(device)), priority=priority)


class Event:
    """Makes a place in the stream of a remote device: a plain `torch.Event`, because elapsed_time takes no subclass of it."""

    def __new__(  # type: ignore[misc]
        cls, device: Device = None, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> torch.Event:
        where = torch.device("remote", index_of(device))
        return torch.Event(where, enable_timing=enable_timing, blocking=blocking, interprocess=interprocess)


def current_stream(device: Device = None) -> torch.Stream:
    """The stream that operators enter."""
    return torch.accelerator.current_stream(torch.device("remote", index_of(device)))


def default_stream(device: Device = None) -> torch.Stream:
    """The stream there is from the start."""
    kind = torch._C._autograd.DeviceType.PrivateUse1.value
    return torch.Stream(stream_id=0, device_index=index_of(device), device_type=kind)


def set_stream(stream: torch.Stream) -> None:
    """Makes it the stream that operators enter."""
    torch.accelerator.set_stream(stream)


class StreamContext:
    """Context manager: operators inside enter the stream. None changes nothing."""

    def __init__(self, stream: torch.Stream | None) -> None:
        self.stream = stream
        self._previous: torch.Stream | None = None

    def __enter__(self) -> None:
        if self.stream is not None:
            self._previous = current_stream(self.stream.device)
            set_stream(self.stream)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous is not None:
            set_stream(self._previous)


def stream(stream: torch.Stream | None) -> StreamContext:
    """Operators inside the returned context enter the stream."""
    return StreamContext(stream)
