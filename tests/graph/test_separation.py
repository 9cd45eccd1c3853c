"""Examples that depend on one another are found in the operation that mixes them, however little of it is seen."""

import pytest
import torch
import torch.nn.functional as F
from helpers import randomise
from torch import nn

import biasprop
from biasprop import UnsupportedOperation


class Doing(nn.Module):
    def __init__(self, then):
        super().__init__()
        self.linear, self.then = nn.Linear(4, 3), then
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        return self.then(self.linear(x), x, self)


def statistics(y, x, module):
    module.mean.copy_(x.detach().mean(0))
    return y - module.mean[:3]


MIXES = {
    "argsort": lambda y, x, _: y * x[:, :1].argsort(0),
    "softmax": lambda y, x, _: y * F.softmax(x.detach()[:, :3], 0),
    "mean": lambda y, x, _: y - x.detach().mean(),
    "std": lambda y, x, _: y / (x.detach().std(0)[:3] + 1),
    "flip": lambda y, x, _: y + 1e-6 * y.flip(0),
    "cumsum": lambda y, x, _: y * x[:, :3].sign().cumsum(0),
    "roll": lambda y, x, _: y + 1e-5 * torch.roll(y, 1, 0),
    "sum": lambda y, x, _: torch.where(x.sum() > 0, y, -y),
    "index": lambda y, x, _: y + 1e-4 * y[torch.arange(x.shape[0]).flip(0)],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", MIXES)
def test_what_mixes_the_examples_is_named(name, batch, dtype):
    model, x = randomise(Doing(MIXES[name])).to(dtype), torch.randn(batch, 4, dtype=dtype)
    with pytest.raises(UnsupportedOperation, match=f"Operation '{name}.* mixes the examples of a batch"):
        biasprop.explain(model, x, 0)


def test_statistics_of_the_batch_in_a_buffer():
    with pytest.raises(UnsupportedOperation, match="'mean' at 'mean' mixes the examples"):
        biasprop.explain(randomise(Doing(statistics)), torch.randn(3, 4), 0)


@pytest.mark.parametrize(
    "then",
    [
        lambda y, x, _: y[torch.arange(len(y)), :2],
        lambda y, x, _: y.argsort(1) * y,
        lambda y, x, _: y.T.contiguous().argsort(0).T * y,
        lambda y, x, _: y.t().flip(0).t() - y.detach().mean(1, keepdim=True),
        lambda y, x, _: y * x.detach().sqrt()[:, :3].nan_to_num(0),
    ],
)
def test_what_keeps_them_apart_is_fine(then):
    explanation = biasprop.explain(randomise(Doing(then)), torch.randn(3, 4), 0)
    assert explanation.completeness_error.max() < 1e-5


class Folded(nn.Module):
    """Heads share a dimension with the examples, which are the dimension ``place`` among them."""

    def __init__(self, heads, place, mixed):
        super().__init__()
        self.heads, self.place, self.mixed = heads, place, mixed

    def forward(self, x):
        heads = x.unflatten(1, (*self.heads, 2)).movedim(0, self.place)
        y = heads.reshape(-1, 2)
        y = y - y.detach().mean(0) if self.mixed else y.relu() + 0.5
        return y.view(heads.shape).movedim(self.place, 0).flatten(1)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("heads", "place"), [((4,), 0), ((4,), 1), ((2, 2), 1)])
def test_heads_that_share_a_dimension_with_the_examples(heads, place, batch):
    x = torch.randn(batch, 8)
    assert biasprop.explain(Folded(heads, place, mixed=False), x, 0).completeness_error.max() < 1e-5
    with pytest.raises(UnsupportedOperation, match="'mean' at 'mean' mixes the examples"):
        biasprop.explain(Folded(heads, place, mixed=True), x, 0)


def test_a_network_of_one_batch_size_is_tried_as_a_whole():
    class Fixed(nn.Module):
        def forward(self, x):
            y = x.reshape(3, 2, 2)
            return (y + 1e-3 * y.roll(1, 0)).flatten(1)

    with pytest.raises(UnsupportedOperation, match="mixes the examples"):
        biasprop.explain(Fixed(), torch.randn(3, 4), 0)


def test_a_forward_that_takes_the_batch_apart():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 5)

        def forward(self, x):
            return torch.stack([self.linear(one[None])[0] for one in x])

    assert biasprop.explain(Loop(), torch.randn(1, 4), 0).completeness_error.max() < 1e-5
    with pytest.raises(UnsupportedOperation, match="1 entries for 2 examples: forward takes the batch apart"):
        biasprop.explain(Loop(), torch.randn(2, 4), 0)
