"""What kubectl shows of leases that hold something."""

from __future__ import annotations

import re

import torch

import torch_remote
from stack import Stack, eventually


def test_kubectl_lists_each_live_storage_of_a_lease_and_no_more_when_it_is_freed(
    stack: Stack, lease: torch_remote.Lease
) -> None:
    # Results of operators: what is made empty is a storage of bytes, without a type.
    first = lease.keep(torch.ones(3, 5, device=lease.device) * 2, "weights")
    second = torch.arange(7, device=lease.device) + 1
    torch.remote.synchronize(lease.device)

    def rows() -> list[list[str]]:
        table = stack.run("kubectl", "get", "tensors").stdout.splitlines()
        return [re.split(" {2,}", row.strip()) for row in table if row.startswith((f"{lease.name}-", "NAME"))]

    def shapes() -> dict[str, list[str]]:
        table = rows()
        return {row[table[0].index("SHAPE")]: row for row in table[1:]}

    eventually(lambda: {"[3, 5]", "[7]"} <= shapes().keys(), 30, "both are shown", 0.2)
    shown = shapes()
    assert shown["[3, 5]"][1:3] == [lease.name, "weights"]
    assert "float32" in shown["[3, 5]"]
    assert "int64" in shown["[7]"]
    assert shown["[7]"][2].startswith("aten::add")
    name = shown["[7]"][0]
    one = stack.get("tensor", name) or {}
    assert one["kind"] == "Tensor"
    status = one["status"]
    assert (status["lease"], status["machine"], status["shape"]) == (lease.name, lease.machine, [7])
    assert status["bytes"] >= 56
    del second
    eventually(lambda: "[7]" not in shapes(), 30, "the one that was freed is gone", 0.2)
    assert "[3, 5]" in shapes()
    assert first.sum().item() == 30
