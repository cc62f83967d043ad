"""A model trained on a lease equals the same model trained on CPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import torch_remote
from stack import Stack

STEPS = 12
TOLERANCE = 1e-5

Batch = tuple[torch.Tensor, torch.Tensor]
MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-3)


def digits() -> Batch:
    from sklearn.datasets import load_digits

    loaded = load_digits()
    return torch.tensor(loaded.data / 16.0, dtype=torch.float32), torch.tensor(loaded.target, dtype=torch.int64)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 48), nn.Tanh(), nn.Linear(48, 10))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


class Transformer(nn.Module):
    """Each row of the picture is a token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(x.view(-1, 8, 8))
        return self.head(self.encoder(tokens).mean(1))


def train(
    make: Callable[[], nn.Module], optimizer: MakeOptimizer, device: torch.device
) -> tuple[nn.Module, list[float]]:
    torch.manual_seed(0)
    model = make().to(device)
    x, y = (part.to(device) for part in digits())
    steps = optimizer(model)
    losses = []
    for step in range(STEPS):
        batch = slice(step * 64, step * 64 + 64)
        steps.zero_grad()
        loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        loss.backward()
        steps.step()
        losses.append(loss.item())
    return model, losses


@pytest.mark.parametrize(
    ("make", "optimizer"),
    [(mlp, sgd), (mlp, adam), (convolutional, sgd), (Transformer, sgd)],
    ids=["mlp-sgd", "mlp-adam", "convolutional-sgd", "transformer-sgd"],
)
def test_training_on_a_lease_equals_training_on_cpu(
    device: torch.device, make: Callable[[], nn.Module], optimizer: MakeOptimizer
) -> None:
    remote, remote_losses = train(make, optimizer, device)
    local, local_losses = train(make, optimizer, torch.device("cpu"))
    torch.testing.assert_close(remote_losses, local_losses, rtol=0, atol=TOLERANCE)
    moved = [name for name, value in remote.named_parameters() if value.device == device]
    assert len(moved) == len(list(local.parameters()))
    for (name, ours), theirs in zip(remote.named_parameters(), local.parameters(), strict=True):
        worst = (ours.detach().cpu() - theirs.detach()).abs().max().item()
        assert worst <= TOLERANCE, f"{name} differs by {worst}"
    # A model that did not learn would be equal too.
    assert local_losses[-1] < local_losses[0]


def test_a_backward_on_cpu_before_the_first_lease_and_a_second_lease_after_a_backward_work(stack: Stack) -> None:
    # The autograd engine makes its threads at the first backward of the process: this needs a process of its own.
    client = stack.client(
        """
        w = torch.ones(3, requires_grad=True)
        (w * 2).sum().backward()

        def gradient(device):
            x = torch.arange(3.0, device=device, requires_grad=True)
            (x * x).sum().backward()
            return x.grad.cpu().tolist()

        first = torch_remote.lease(gpu="CPU", machine="shared", quiet=True)
        print(first.device, gradient(first.device))
        second = torch_remote.lease(gpu="CPU", machine="shared", count=2, quiet=True)
        print(second.device, gradient(second.device))
        print(second.devices[1], gradient(second.devices[1]))
        first.release()
        print(gradient(second.device))
        second.release()
        """
    )
    assert client.line() == "remote:0 [0.0, 2.0, 4.0]"
    assert client.line() == "remote:1 [0.0, 2.0, 4.0]"
    assert client.line() == "remote:2 [0.0, 2.0, 4.0]"
    assert client.line() == "[0.0, 2.0, 4.0]"
    client.finish()


def test_a_training_step_asks_nothing_and_learns_nothing_once_it_is_warm(stack: Stack) -> None:
    with torch_remote.lease(gpu="CPU", machine="shared", name="warm-step", quiet=True) as lease:
        torch.manual_seed(0)
        model = mlp().to(lease.device)
        x, y = (part[:64].to(lease.device) for part in digits())
        steps = sgd(model)

        def step() -> None:
            steps.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            steps.step()

        for _ in range(3):
            step()
        torch.remote.synchronize(lease.device)
        before = lease.stats()
        for _ in range(10):
            step()
        after = lease.stats()
        grown = {name: after[name] - before[name] for name in ("cache_misses", "python_metas", "calls_now", "syncs")}
        assert grown == {"cache_misses": 0, "python_metas": 0, "calls_now": 0, "syncs": 0}
        assert after["ops"] - before["ops"] >= 10 * 20
        assert after["live_storages"] == before["live_storages"]
