"""The names kept from the project this grew from, on a real control plane."""

from __future__ import annotations

import pytest
import torch

import torch_remote
from stack import Stack
from torch_remote import BackendProvider, DeviceRegistry, GPUType, RemoteMachine, errors


def test_a_machine_is_made_leased_by_to_and_ended(stack: Stack) -> None:
    machine = RemoteMachine(GPUType.CPU, BackendProvider.LOCAL)
    assert machine.id.startswith("local-cpu-")
    assert not machine.is_running()
    with machine.start(quiet=True):
        assert machine.is_running()
        assert stack.phase("remotemachine", machine.id) == "Ready"
        before = torch.remote.device_count()
        x = torch.ones(3).to(machine)
        assert x.device == machine.device()
        assert torch.remote.device_count() == before + 1
        layer = torch.nn.Linear(3, 2).to(machine)
        assert layer(x).shape == (2,)
        assert torch.ones(3).to(device=machine, dtype=torch.float64).dtype == torch.float64
        assert machine.device() == x.device
    assert torch.remote.device_count() == before
    assert not machine.is_running()
    with pytest.raises(torch_remote.RemoteLost):
        x.cpu()


def test_machines_are_equal_and_hashed_by_id_and_found_by_id_and_index(stack: Stack) -> None:
    one, two = RemoteMachine("T4", "modal"), RemoteMachine("T4", "modal")
    assert one == one
    assert one != two
    assert len({one, two, one}) == 2
    registry = DeviceRegistry()
    assert (registry.register(one), registry.register(two), registry.register(one)) == (0, 1, 0)
    assert registry.get_device_by_id(two.id) is two
    assert registry.get_device_by_index(1) is two
    assert registry.get_device_by_index(2) is None
    assert registry.get_device_by_id("nothing") is None


def test_a_provider_that_the_server_lacks_is_named_before_anything_is_made(stack: Stack) -> None:
    before = len(stack.list("remotemachines"))
    with pytest.raises(errors.Unsupported, match="has no Provider 'modal': it has local"):
        torch_remote.create_modal_machine("H100", quiet=True)
    assert len(stack.list("remotemachines")) == before


def test_a_gpu_type_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'A100-40GB' or 'A100-80GB'"):
        torch_remote.create_modal_machine("A100")
