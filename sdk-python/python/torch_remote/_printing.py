"""Printing a remote tensor with one transfer of what is shown, instead of one read per number."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["install"]

stock: Any = torch._tensor_str


def install() -> None:
    """Routes the printing of remote tensors through one `.cpu()`."""
    original = stock._str

    def _str(self: torch.Tensor, *, tensor_contents: str | None = None) -> str:
        if (
            tensor_contents is None
            and self.device.type == "remote"
            and self.layout == torch.strided
            and self.numel() > 0
            and not self.is_quantized
        ):
            plain = type(self) in (
                torch.Tensor,
                torch.nn.Parameter,
            ) and not torch._C._functorch.is_functorch_wrapped_tensor(self)
            if plain:
                tensor_contents = _contents(self)
        return str(original(self, tensor_contents=tensor_contents))

    stock._str = _str


def _contents(tensor: torch.Tensor) -> str:
    options = stock.PRINT_OPTS
    threshold = options.threshold
    with torch.no_grad():
        if tensor.numel() <= threshold:
            return _formatted(tensor.detach().cpu())
        # Enough of each long dimension that the stock code prints its edges and an ellipsis between them.
        shown = tensor.detach()
        for dimension, size in enumerate(tensor.shape):
            if size > 2 * options.edgeitems:
                first = shown.narrow(dimension, 0, options.edgeitems + 1)
                last = shown.narrow(dimension, size - options.edgeitems, options.edgeitems)
                shown = torch.cat([first, last], dimension)
        local = shown.cpu()
    try:
        options.threshold = 0
        return _formatted(local)
    finally:
        options.threshold = threshold


def _formatted(local: torch.Tensor) -> str:
    with torch.no_grad():
        return str(stock._tensor_str(local, len("tensor(")))
