"""Small models with their data and loss, made on the CPU from a fixed seed, for comparison with the remote device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Case:
    model: Callable[[], nn.Module]
    inputs: Callable[[], Tensor]
    target: Callable[[], Tensor]
    loss: Loss


def mean_square(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 4))


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.GroupNorm(4, 16),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


class Encoder(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.out = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(x))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cells = kind(6, 8, 2, batch_first=True)
        self.out = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cells(x)[0])


class Tied(nn.Module):
    """One weight twice: as embedding and as output."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.norm = nn.Sequential(nn.LayerNorm(8), nn.RMSNorm(8))
        self.out = nn.Linear(8, 20, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(self.embedding(x))).flatten(0, 1)


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = mlp()
        self.out = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(checkpoint(self.first, x, use_reentrant=False))


def images() -> Tensor:
    return torch.randn(4, 3, 16, 16)


CASES = {
    "mlp": Case(mlp, lambda: torch.randn(16, 10), lambda: torch.randn(16, 4), mean_square),
    "conv_net": Case(conv_net, images, lambda: torch.randint(0, 5, (4,)), nn.functional.cross_entropy),
    "channels_last": Case(
        lambda: conv_net().to(memory_format=torch.channels_last),
        lambda: images().to(memory_format=torch.channels_last),
        lambda: torch.randint(0, 5, (4,)),
        nn.functional.cross_entropy,
    ),
    "transposed_convolution": Case(
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 3, 2), nn.Upsample(scale_factor=2), nn.Conv2d(4, 2, 1)),
        lambda: torch.randn(2, 3, 5, 5),
        lambda: torch.randn(2, 2, 22, 22),
        mean_square,
    ),
    "transformer_encoder": Case(Encoder, lambda: torch.randn(3, 7, 16), lambda: torch.randn(3, 7, 3), mean_square),
    "lstm": Case(lambda: Recurrent(nn.LSTM), lambda: torch.randn(3, 5, 6), lambda: torch.randn(3, 5, 2), mean_square),
    "gru": Case(lambda: Recurrent(nn.GRU), lambda: torch.randn(3, 5, 6), lambda: torch.randn(3, 5, 2), mean_square),
    "tied_weights": Case(
        Tied, lambda: torch.randint(0, 20, (4, 6)), lambda: torch.randint(0, 20, (24,)), nn.functional.cross_entropy
    ),
    "checkpointed": Case(Checkpointed, lambda: torch.randn(16, 10), lambda: torch.randn(16, 4), mean_square),
}
