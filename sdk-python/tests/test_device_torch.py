"""Parts of PyTorch that meet a device in their own way."""

from __future__ import annotations

import copy

import pytest
import torch
from device_counts import count, reset
from torch import nn


def test_a_grad_scaler_reads_one_number_per_step(device: torch.device) -> None:
    model = nn.Linear(4, 4).to(device)
    optimizer, scaler = torch.optim.SGD(model.parameters(), 0.1), torch.amp.GradScaler("remote")
    x = torch.randn(2, 4).to(device)
    for _ in range(3):
        optimizer.zero_grad()
        reset()
        with torch.autocast("remote", torch.float16):
            loss = model(x).square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert count("reads", device.index) == 1
    assert count("cache_misses", device.index) == 0


def test_packed_sequences_keep_their_lengths_on_the_cpu(device: torch.device) -> None:
    cells, x = nn.LSTM(3, 4, batch_first=True), torch.randn(2, 5, 3)
    twin = copy.deepcopy(cells).to(device)
    expected, _ = cells(nn.utils.rnn.pack_padded_sequence(x, [5, 3], batch_first=True))
    packed, _ = twin(nn.utils.rnn.pack_padded_sequence(x.to(device), [5, 3], batch_first=True))
    torch.testing.assert_close(packed.data.cpu(), expected.data)
    padded, lengths = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    assert (padded.shape, lengths.tolist()) == ((2, 5, 4), [5, 3])


def test_ctc_loss_takes_lengths_of_either_device(device: torch.device) -> None:
    scores, targets = torch.randn(10, 2, 5).log_softmax(2), torch.randint(1, 5, (2, 4))
    lengths = torch.tensor([10, 8]), torch.tensor([4, 3])
    expected = nn.functional.ctc_loss(scores, targets, *lengths)
    for moved in (lengths, tuple(x.to(device) for x in lengths)):
        loss = nn.functional.ctc_loss(scores.to(device), targets.to(device), *moved)
        torch.testing.assert_close(loss.cpu(), expected)


def test_function_transforms_compose_with_the_device(device: torch.device) -> None:
    def energy(x: torch.Tensor) -> torch.Tensor:
        return (x.sin() ** 2).sum()

    x = torch.randn(4)
    for transform in (torch.func.grad, torch.func.hessian):
        torch.testing.assert_close(transform(energy)(x.to(device)).cpu(), transform(energy)(x))
    a, b = torch.randn(3, 2, 2), torch.randn(3, 2, 2)
    product = torch.func.vmap(torch.mm)(a.to(device), b.to(device))
    torch.testing.assert_close(product.cpu(), torch.bmm(a, b))
    _, tangent = torch.func.jvp(energy, (x.to(device),), (torch.ones(4, device=device),))
    torch.testing.assert_close(tangent.cpu(), torch.func.grad(energy)(x).sum())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_and_its_gradients_equal_the_cpus(causal: bool, masked: bool, device: torch.device) -> None:
    if causal and masked:
        causal = False
    ours = [torch.randn(2, 2, 5, 8, requires_grad=True) for _ in range(3)]
    theirs = [x.detach().to(device).requires_grad_() for x in ours]
    mask = torch.rand(5, 5) > 0.3 if masked else None
    for values, place in ((ours, "cpu"), (theirs, device)):
        attend = nn.functional.scaled_dot_product_attention
        attend(*values, attn_mask=None if mask is None else mask.to(place), is_causal=causal).square().sum().backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(other.grad.cpu(), one.grad)


def test_bags_of_embeddings_equal_the_cpus(device: torch.device) -> None:
    for mode in ("sum", "mean", "max"):
        bag = nn.EmbeddingBag(10, 3, mode=mode)
        twin = copy.deepcopy(bag).to(device)
        rows, offsets = torch.randint(0, 10, (8,)), torch.tensor([0, 3])
        expected, result = bag(rows, offsets), twin(rows.to(device), offsets.to(device))
        torch.testing.assert_close(result.cpu(), expected)
        expected.sum().backward()
        result.sum().backward()
        torch.testing.assert_close(twin.weight.grad.cpu(), bag.weight.grad)


def test_an_optimizer_continues_from_its_saved_state(device: torch.device) -> None:
    model = nn.Linear(2, 2).to(device)
    first = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2, device=device)).sum().backward()
    first.step()
    second = torch.optim.Adam(model.parameters())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    moments = [second.state[p]["exp_avg"] for p in model.parameters()]
    assert all(m.device == device for m in moments)
    second.step()


def test_lbfgs_ends_where_it_ends_on_the_cpu(device: torch.device) -> None:
    model, x = nn.Linear(3, 1), torch.randn(8, 3)
    twin = copy.deepcopy(model).to(device)
    for network, inputs in ((model, x), (twin, x.to(device))):
        optimizer = torch.optim.LBFGS(network.parameters(), max_iter=5)

        def closure(network: nn.Module = network, inputs: torch.Tensor = inputs) -> torch.Tensor:
            network.zero_grad()
            loss = network(inputs).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)
    torch.testing.assert_close(twin.weight.cpu(), model.weight, rtol=1e-4, atol=1e-5)


def test_a_data_loader_with_workers_feeds_the_device(device: torch.device) -> None:
    data = torch.utils.data.TensorDataset(torch.arange(30.0).reshape(10, 3))
    seen = 0.0
    for (batch,) in torch.utils.data.DataLoader(data, batch_size=5, num_workers=2):
        seen += batch.to(device, non_blocking=True).sum().item()
    assert seen == sum(range(30))
    for (batch,) in torch.utils.data.DataLoader(data, batch_size=5, pin_memory=True):
        assert batch.is_pinned()


def test_a_module_made_under_the_device_is_on_it(device: torch.device) -> None:
    with device:
        model, x = nn.Linear(3, 3), torch.ones(2, 3)
    assert model(x).device == device
    assert copy.deepcopy(model).weight.device == device


def test_normalisation_in_bfloat16_equals_the_cpus(device: torch.device) -> None:
    for norm in (nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.BatchNorm1d(4)):
        module = norm.bfloat16()
        twin = copy.deepcopy(module).to(device)
        x = torch.randn(3, 4).bfloat16()
        expected, result = module(x), twin(x.to(device))
        torch.testing.assert_close(result.cpu(), expected)
        result.float().sum().backward()
        module.eval()
        twin.eval()
        torch.testing.assert_close(twin(x.to(device)).cpu(), module(x))
