"""Models train on the remote device as they do on the CPU."""

from __future__ import annotations

import copy

import pytest
import torch
from device_models import CASES, Case, mlp
from torch import nn

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9),
    "sgd_fused": lambda parameters: torch.optim.SGD(parameters, 0.1, fused=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, 1e-3),
    "adam_amsgrad": lambda parameters: torch.optim.Adam(parameters, 1e-3, amsgrad=True, foreach=True),
    "adam_one_by_one": lambda parameters: torch.optim.Adam(parameters, 1e-3, foreach=False),
    "adamw_fused": lambda parameters: torch.optim.AdamW(parameters, 1e-3, fused=True),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, 1e-3),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, 1e-3),
}


def train(case: Case, optimizer: str, device: torch.device, clip: float | None = None) -> float:
    """Trains twins, one on the CPU, three steps; the largest difference between their parameters and buffers."""
    torch.manual_seed(0)
    model = case.model()
    inputs, target = case.inputs(), case.target()
    twin = copy.deepcopy(model).to(device)
    for network, x, y in ((model, inputs, target), (twin, inputs.to(device), target.to(device))):
        steps = OPTIMIZERS[optimizer](network.parameters())
        for _ in range(3):
            steps.zero_grad()
            case.loss(network(x), y).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(network.parameters(), clip)
            steps.step()
    pairs = zip(model.state_dict().values(), twin.state_dict().values(), strict=True)
    return max((ours.double() - theirs.cpu().double()).abs().max().item() for ours, theirs in pairs)


@pytest.mark.parametrize("name", CASES)
def test_a_model_trained_with_sgd_has_the_parameters_it_has_on_the_cpu(name: str, device: torch.device) -> None:
    assert train(CASES[name], "sgd", device) < 1e-5


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_gives_the_parameters_it_gives_on_the_cpu(optimizer: str, device: torch.device) -> None:
    assert train(CASES["mlp"], optimizer, device) < 1e-5


def test_gradients_are_clipped_as_on_the_cpu(device: torch.device) -> None:
    assert train(CASES["mlp"], "sgd", device, clip=0.01) < 1e-6


def test_moving_a_model_keeps_its_parameter_objects_so_ties_and_optimizers_hold(device: torch.device) -> None:
    model = CASES["tied_weights"].model()
    before = list(model.parameters())
    model.to(device)
    assert all(ours is theirs for ours, theirs in zip(before, model.parameters(), strict=True))
    assert model.out.weight is model.embedding.weight
    assert model.out.weight.device == device


def test_a_saved_model_loads_on_the_cpu_and_back_on_the_device(device: torch.device, tmp_path) -> None:
    model = mlp().to(device)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    on_cpu = torch.load(tmp_path / "model.pt", map_location="cpu")
    again = torch.load(tmp_path / "model.pt", map_location=device)
    for name, value in model.state_dict().items():
        assert on_cpu[name].device.type == "cpu"
        assert again[name].device == device
        assert torch.equal(on_cpu[name], value.cpu())
        assert torch.equal(again[name].cpu(), value.cpu())


def test_autocast_computes_matrix_products_in_the_lower_precision_and_losses_in_float32(device: torch.device) -> None:
    model = mlp().to(device)
    x = torch.randn(3, 10).to(device)
    with torch.autocast("remote", dtype=torch.bfloat16):
        output = model(x)
        loss = nn.functional.mse_loss(output, torch.zeros(3, 4, device=device))
    assert output.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
