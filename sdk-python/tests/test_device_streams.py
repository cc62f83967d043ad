"""Streams and events: one ordered stream per lease, and events that are places in it."""

from __future__ import annotations

import pytest
import torch


def test_an_event_is_done_after_it_was_waited_for_and_time_goes_forward(device: torch.device) -> None:
    first, second = torch.Event(device, enable_timing=True), torch.Event(device, enable_timing=True)
    x = torch.ones(200, 200, device=device)
    first.record()
    for _ in range(20):
        x = x @ x * 1e-3
    second.record()
    second.synchronize()
    assert first.query()
    assert second.query()
    assert 0 < first.elapsed_time(second) < 60_000


def test_the_time_of_an_event_that_is_forgotten_raises_and_is_no_number(device: torch.device) -> None:
    old, new = torch.Event(device, enable_timing=True), torch.Event(device, enable_timing=True)
    old.record()
    for _ in range(65_536):
        new.record()
    new.synchronize()
    assert old.query()
    with pytest.raises(RuntimeError, match="the time of this event is forgotten"):
        old.elapsed_time(new)


def test_all_streams_of_a_device_are_its_one_stream(device: torch.device) -> None:
    stream = torch.Stream(device)
    with stream:
        x = torch.ones(3, device=device)
    assert torch.accelerator.current_stream(device) == stream
    assert (x + 1).cpu().tolist() == [2, 2, 2]
    stream.synchronize()
    event = stream.record_event()
    stream.wait_event(event)
    event.synchronize()
    assert event.query()


def test_memory_is_counted_by_what_is_alive(device: torch.device) -> None:
    before = torch.accelerator.memory_allocated(device)
    x = torch.empty(1000, device=device)
    assert torch.accelerator.memory_allocated(device) == before + 4000
    y = x[10:]
    del x
    assert torch.accelerator.memory_allocated(device) == before + 4000
    del y
    assert torch.accelerator.memory_allocated(device) == before
    assert torch.accelerator.max_memory_allocated(device) >= before + 4000
