"""Linear layers: rows and units that nothing comes to are left out, and normalisers of known products are the same."""

import pytest
import torch

from biasprop.kernels import Layout, Settings, dense, streaming
from biasprop.kernels.dense import Dense
from biasprop.kernels.proportional import spread_equally, spread_positive
from biasprop.kernels.slope import Slope
from biasprop.rules import PositiveShare

ROWS, K, OUT = 6, 40, 30
POSITION = torch.zeros(1, 1, dtype=torch.int32)


@pytest.fixture(autouse=True)
def _every_layer_is_large(monkeypatch):
    monkeypatch.setattr(dense, "LARGE", 1)


def problem(seed, targets=1, dtype=torch.float64):
    torch.manual_seed(seed)
    u, weight = torch.randn(2, 3, K, dtype=dtype), torch.randn(OUT, K, dtype=dtype)
    beta = torch.randn(targets, 2, 3, OUT, dtype=dtype)
    return u, weight, beta


def layer_of(u, weight, bias=None):
    plain = Dense(weight, u.shape, torch.Size([*u.shape[:-1], len(weight)]))
    output = torch.nn.functional.linear(u, weight, bias)
    return plain, plain.knowing(output, bias)


def reference(u, weight, slope, beta):
    layout = Layout((ROWS, 1, K, 1), (ROWS, 1, OUT, 1), weight[None, None], POSITION)
    units = slope.each(lambda t: t.expand(2, 3, OUT).reshape(layout.output))
    masses = beta.reshape(len(beta), *layout.output)
    received, lost = streaming.spread(
        layout, u.reshape(layout.operand), units, masses[0] * 0, masses, Settings(PositiveShare(), 2**20)
    )
    assert lost is None
    return received.reshape(len(beta), *u.shape)


def spread(layer, u, slope, beta):
    positive, rest = spread_positive(layer, u, slope, beta)
    return positive if rest is None else positive + spread_equally(layer, u, slope, rest)[0]


def emptied(beta, kind):
    if kind in ("rows", "both"):
        beta[:, 0] = 0
        beta[:, 1, 1] = 0
    if kind in ("units", "both"):
        beta[..., : OUT // 2] = 0
        beta[..., -4:] = 0
    if kind == "other rows":  # for each target
        beta[0, 0], beta[-1, 1] = 0, 0
    if kind == "all":
        beta.zero_()
    return beta


SCALES = {
    "none": None,
    "number": torch.tensor(-0.5),
    "units": torch.linspace(-1, 1, OUT),
    "rows": torch.linspace(-1, 1, 3)[:, None],
    "each": torch.linspace(-1, 1, 6 * OUT).reshape(2, 3, OUT),
}


@pytest.mark.parametrize("kind", ["rows", "units", "both", "other rows", "all", "none"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("targets", [1, 3])
def test_only_what_something_comes_to_takes_part(kind, scale, targets):
    u, weight, beta = problem(0, targets)
    weight[12], u[0] = -weight[12].abs(), u[0].abs()  # a unit without a positive component
    slope = Slope(None if SCALES[scale] is None else SCALES[scale].double(), torch.randn(2, 3, OUT).double().relu())
    beta = slope.opened(emptied(beta, kind))
    for layer in layer_of(u, weight, torch.randn(OUT).double()):
        torch.testing.assert_close(spread(layer, u, slope, beta), reference(u, weight, slope, beta))
        g = layer.gradient(beta)
        torch.testing.assert_close(g, beta @ weight)


def test_rows_and_units_are_found():
    u, weight, beta = problem(0, 2)
    layer, _ = layer_of(u, weight)
    assert layer.busy(beta) is None
    rows, units, part = layer.busy(emptied(beta.clone(), "both"))
    assert (rows.tolist(), units) == ([3, 5], slice(OUT // 2, OUT - 4))
    assert (part.operand, part.output) == ((2, K), (2, OUT - 4 - OUT // 2))
    assert layer.busy(emptied(beta.clone(), "other rows")) is None
    beta[:] = 0
    beta[1, 1, 2, 7] = torch.nan
    rows, units, part = layer.busy(beta)
    assert (rows.tolist(), units) == ([5], slice(7, 8))


def test_a_sample_does_not_decide_what_is_empty(monkeypatch):
    monkeypatch.setattr(dense, "SAMPLE", 1)
    masses = torch.zeros(1, 4, 8)
    masses[0, 2, 5] = 1  # no row or unit of the sample
    assert dense._not_empty(masses, 1).tolist() == [2]
    assert dense._not_empty(masses, 2).tolist() == [5]


@pytest.mark.parametrize("bias", [0.0, 1.0, 1e5])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("lopsided", [0, 1, OUT])
@pytest.mark.parametrize("targets", [1, 3])
def test_a_known_product_gives_exact_shares_where_it_cancels(bias, sign, lopsided, targets, monkeypatch):
    monkeypatch.setattr(dense, "FEW", 8)
    u, weight, beta = problem(1, targets, dtype=torch.float32)
    # The first row's components are nearly all of one sign, in some units: hardly anything is left of the sum.
    weight[:lopsided] = -sign * weight[:lopsided].abs() * u[0, 0].sign()
    weight[:lopsided, 0] *= -1e-4
    layer = layer_of(u, weight, bias * torch.randn(OUT))[1]
    exact, slope = weight.double(), Slope(torch.tensor(float(sign)))
    whole = (u.double().unsqueeze(-2) * exact * sign).clamp_min(0).sum(-1)
    found = layer.positive(u, u.abs() / 2, weight * sign, weight.abs(), float(sign))
    if lopsided == OUT or bias == 1e5:  # too many: by halves
        assert found is None
    else:
        total, cancelled = found
        torch.testing.assert_close(total.double(), whole, rtol=3e-6, atol=0)
        assert (cancelled is None) == (lopsided == 0)
    received = spread(layer, u, slope, beta)
    expected = reference(u.double(), exact, slope.each(torch.Tensor.double), beta.double())
    torch.testing.assert_close(received.double(), expected, rtol=1e-4, atol=2e-6)


def test_what_cancels_is_added_up_a_few_at_a_time(monkeypatch):
    u, weight, beta = problem(1, 3, dtype=torch.float32)
    weight[:4] = -weight[:4].abs() * u[0, 0].sign()
    weight[:4, 0] *= -1e-4
    layer = layer_of(u, weight)[1]
    monkeypatch.setattr(dense, "FEW", 8)
    whole = spread(layer, u, Slope(), beta)
    monkeypatch.setattr(dense, "CACHED", 1)  # one unit
    torch.testing.assert_close(spread(layer, u, Slope(), beta), whole)
    monkeypatch.setattr(dense, "FEW", 2**20)  # none: all by halves
    torch.testing.assert_close(spread(layer, u, Slope(), beta), whole)


def test_a_known_product_saves_one(monkeypatch):
    u, weight, beta = problem(2)
    products = []
    monkeypatch.setattr(Dense, "apply", lambda layer, u, w: products.append(1) or (u @ w.T).reshape(layer.output))
    for layer, count in zip(layer_of(u, weight), (2, 1), strict=True):
        products.clear()
        spread_positive(layer, u, Slope(), beta)
        assert len(products) == count


def test_where_most_is_busy_one_look_is_enough(monkeypatch):
    u, weight, beta = problem(0)
    layer, _ = layer_of(u, weight)
    monkeypatch.setattr(dense, "_not_empty", lambda *_: pytest.fail("looked again"))
    assert layer.busy(beta) is None
    torch.testing.assert_close(layer.gradient(beta), beta @ weight)
