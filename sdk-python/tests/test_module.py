"""`torch.remote` is what `torch.cuda` is: the functions PyTorch itself calls, and those its users know."""

from __future__ import annotations

import re

import pytest
import torch

import torch_remote


def test_the_device_module_has_what_pytorch_asks_of_one() -> None:
    asked = [
        "is_available",
        "device_count",
        "current_device",
        "set_device",
        "device",
        "device_of",
        "synchronize",
        "manual_seed",
        "manual_seed_all",
        "seed",
        "seed_all",
        "initial_seed",
        "get_rng_state",
        "set_rng_state",
        "get_rng_state_all",
        "set_rng_state_all",
        "get_amp_supported_dtype",
        "_is_in_bad_fork",
        "_lazy_init",
        "is_initialized",
        "init",
        "memory_allocated",
        "max_memory_allocated",
        "memory_reserved",
        "reset_peak_memory_stats",
        "mem_get_info",
        "empty_cache",
        "Stream",
        "Event",
        "stream",
        "current_stream",
        "default_stream",
        "set_stream",
        "default_generators",
        "get_device_name",
        "get_device_properties",
        "get_device_capability",
        "is_bf16_supported",
    ]
    assert [name for name in asked if not hasattr(torch.remote, name)] == []
    assert torch.get_device_module("remote") is torch.remote


def test_a_new_tensor_is_on_the_current_device(device: torch.device) -> None:
    with torch.remote.device(device):
        x = torch.ones(2, 3, device="remote")
    assert x.device == device
    assert x.is_remote
    assert torch.ones(2).remote(device).device == device


def test_manual_seed_reproduces_and_the_state_can_be_saved(device: torch.device) -> None:
    torch.manual_seed(5)
    first = torch.randn(8, device=device).cpu()
    state = torch.remote.get_rng_state(device)
    second = torch.randn(8, device=device).cpu()
    assert not torch.equal(first, second)
    torch.remote.set_rng_state(state, device)
    assert torch.equal(torch.randn(8, device=device).cpu(), second)
    torch.manual_seed(5)
    assert torch.equal(torch.randn(8, device=device).cpu(), first)
    with torch.random.fork_rng([device.index], device_type="remote"):
        torch.randn(8, device=device)
    assert torch.equal(torch.randn(8, device=device).cpu(), second)


def test_memory_is_counted_by_the_storages_alive(device: torch.device) -> None:
    before = torch.remote.memory_allocated(device)
    torch.remote.reset_peak_memory_stats(device)
    x = torch.zeros(1 << 20, device=device)
    assert torch.remote.memory_allocated(device) - before == 4 << 20
    del x
    assert torch.remote.memory_allocated(device) == before
    assert torch.remote.max_memory_allocated(device) - before == 4 << 20


def test_streams_and_events_keep_the_order_they_were_given(device: torch.device) -> None:
    start, end = (torch.remote.Event(device, enable_timing=True) for _ in range(2))
    side = torch.remote.Stream(device)
    start.record(torch.remote.current_stream(device))
    with torch.remote.stream(side):
        x = torch.ones(64, 64, device=device) @ torch.ones(64, 64, device=device)
    end.record(torch.remote.current_stream(device))
    end.synchronize()
    assert end.query()
    assert start.elapsed_time(end) >= 0
    assert x.sum().item() == 64.0**3


def test_printing_reads_once_and_prints_what_a_local_tensor_prints(
    device: torch.device, lease: torch_remote.Lease
) -> None:
    samples = [
        torch.arange(6.0).view(2, 3),
        torch.randn(3, 500, 40),
        torch.randn(2000),
        torch.tensor(3.5),
        torch.arange(4, dtype=torch.int64).view(2, 2).t(),
        torch.tensor([1e-9, 1.0, 1e9]),
        torch.tensor([True, False]),
        torch.randn(3, dtype=torch.complex64),
        torch.zeros(0, 3),
    ]
    for sample in samples:
        there = sample.to(device)
        torch.remote.synchronize(device)
        before = lease.stats()["syncs"]
        text = repr(there)
        assert lease.stats()["syncs"] - before <= 1, f"{tuple(sample.shape)} was read more than once"
        assert re.sub(rf",\s+device='{device}'", "", text) == repr(sample)
    parameter = torch.nn.Parameter(torch.ones(2).to(device))
    assert repr(parameter) == f"Parameter containing:\ntensor([1., 1.], device='{device}', requires_grad=True)"


def test_autocast_takes_the_types_it_lists(device: torch.device) -> None:
    x = torch.ones(4, 4, device=device)
    with torch.autocast("remote", dtype=torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        assert torch.nn.functional.softmax(x, 0).dtype == torch.float32


def test_a_checkpoint_travels_between_devices(device: torch.device, tmp_path: object) -> None:
    import io

    model = torch.nn.Linear(3, 2).to(device)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    local = torch.load(file, map_location="cpu")
    file.seek(0)
    back = torch.load(file, map_location=device)
    assert torch.equal(local["weight"], model.weight.detach().cpu())
    assert back["weight"].device == device
    assert torch.equal(back["weight"].cpu(), local["weight"])


def test_a_kept_tensor_must_be_on_the_lease(lease: torch_remote.Lease) -> None:
    with pytest.raises(ValueError, match="the tensor is on cpu"):
        lease.keep(torch.ones(2), "weights")
    x = torch.ones(2, device=lease.device)
    assert lease.keep(x, "weights") is x
