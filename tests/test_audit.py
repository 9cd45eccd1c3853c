"""The audit: against dense Jacobians, one pass over the data, resumed without losing or repeating an example."""

import json

import pytest
import torch
from conftest import randomise
from scipy.stats import binomtest
from torch import nn
from torch.func import jacrev, vmap

import biasprop
from biasprop import FileError, InputError, TargetError
from biasprop.files import read_tensors, write_tensors


def classifier(outputs=4):
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return randomise(nn.Sequential(*layers, nn.Linear(27, 5), nn.ReLU(), nn.Linear(5, outputs)).double())


def examples(count=23, classes=4):
    return torch.randn(count, 2, 8, 8, dtype=torch.float64), torch.randint(0, classes, (count,))


def batches(x, labels, size=5):
    return list(zip(x.split(size), labels.split(size), strict=True))


def dense(model, x):
    """``f`` and ``J x`` for every class, from whole Jacobians."""
    jacobian = vmap(jacrev(lambda u: model(u[None])[0]))(x)
    return model(x).detach(), (jacobian * x[:, None]).flatten(2).sum(2).detach()


def test_every_figure_is_what_dense_jacobians_give():
    model, (x, labels) = classifier(), examples()
    found = biasprop.audit(model, batches(x, labels))
    f, linear = dense(model, x)
    b = f - linear
    assert len(found) == 23
    for name, logits in (("w.x + b", f), ("w.x alone", linear), ("b alone", b)):
        assert found.accuracy[name] == pytest.approx((logits.argmax(1) == labels).double().mean().item())
        same = (logits.argmax(1) == f.argmax(1)).double().mean().item()
        assert found.agreement[name] == pytest.approx(same)
    predicted = f.argmax(1, keepdim=True)
    torch.testing.assert_close(found.outputs, f.gather(1, predicted)[:, 0])
    torch.testing.assert_close(found.biases, b.gather(1, predicted)[:, 0])
    torch.testing.assert_close(found.shares, found.biases / found.outputs)
    ordered = found.shares.sort().values
    assert found.quantiles()[0.5] == ordered[11]
    explained = biasprop.explain(model, x).sources
    assert [name for name, _ in found.sources] == explained.names == ["0", "1", "5", "7"]
    torch.testing.assert_close(found.amounts, explained.amounts.sum(0))
    torch.testing.assert_close(found.masses, explained.amounts.abs().sum(0))
    torch.testing.assert_close(found.amounts.sum(), found.biases.sum())


@pytest.mark.parametrize("shape", [(1,), ()])
def test_a_single_logit_decides_by_its_sign(shape):
    x, labels = examples(classes=2)
    model = classifier(1)
    if not shape:
        model = nn.Sequential(model, nn.Flatten(0)).eval()
    found = biasprop.audit(model, batches(x, labels))
    f, linear = (t.reshape(-1) for t in dense(model if shape else model[0], x))
    for name, logits in (("w.x + b", f), ("w.x alone", linear), ("b alone", f - linear)):
        assert found.accuracy[name] == pytest.approx(((logits > 0) == labels).double().mean().item())
    torch.testing.assert_close(found.outputs, f)
    torch.testing.assert_close(found.biases, f - linear)


def same(one, two):
    """Up to rounding, which depends on the size of the batches."""
    names = ("labels", "classes", "outputs", "biases", "amounts", "masses")
    return one.sources == two.sources and all(
        torch.allclose(getattr(one, name), getattr(two, name), rtol=1e-10) for name in names
    )


class Interrupted(Exception):
    pass


def until(loader, count):
    yield from loader[:count]
    raise Interrupted


@pytest.mark.parametrize("size", [5, 3, 23])
def test_an_interrupted_audit_goes_on_without_losing_or_repeating_an_example(tmp_path, size):
    model, (x, labels) = classifier(), examples()
    whole = biasprop.audit(model, batches(x, labels))
    state = tmp_path / "state.safetensors"
    with pytest.raises(Interrupted):
        biasprop.audit(model, until(batches(x, labels), 3), state=state)
    assert len(read_tensors(state, "biasprop-audit-1")[1]["labels"]) == 15
    explainer, examined = biasprop.explainer(model, x[:2]), []
    split = explainer.split
    explainer.split = lambda u: (examined.append(len(u)), split(u))[1]
    assert same(biasprop.audit(explainer, batches(x, labels, size), state=state), whole)
    assert sum(examined) == 1 + 8  # the first one, to see that the network is the same
    examined.clear()
    assert same(biasprop.audit(explainer, batches(x, labels, size), state=state), whole)  # finished: not run again
    assert examined == [1]


def test_interrupted_while_it_reads_what_is_done_it_leaves_the_state_as_it_is(tmp_path):
    model, (x, labels) = classifier(), examples()
    state = tmp_path / "state.safetensors"
    whole = biasprop.audit(model, batches(x, labels), state=state)
    before = state.read_bytes()
    with pytest.raises(Interrupted):
        biasprop.audit(model, until(batches(x, labels), 2), state=state)
    assert state.read_bytes() == before
    assert same(biasprop.audit(model, batches(x, labels), state=state), whole)


def test_more_data_of_the_same_order_are_added(tmp_path):
    model, (x, labels) = classifier(), examples()
    state = tmp_path / "state.safetensors"
    biasprop.audit(model, batches(x[:7], labels[:7]), state=state)
    assert same(biasprop.audit(model, batches(x, labels), state=state), biasprop.audit(model, batches(x, labels)))


def test_a_bad_example_does_not_cost_the_ones_before(tmp_path):
    model, (x, labels) = classifier(), examples()
    state = tmp_path / "state.safetensors"
    broken = x.clone()
    broken[12, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="NaN"):
        biasprop.audit(model, batches(broken, labels), state=state)
    assert same(biasprop.audit(model, batches(x, labels), state=state), biasprop.audit(model, batches(x, labels)))


def test_a_state_of_other_data_or_other_weights_is_refused(tmp_path):
    model, (x, labels) = classifier(), examples()
    state = tmp_path / "state.safetensors"
    biasprop.audit(model, batches(x, labels), state=state)
    before = state.read_bytes()
    with pytest.raises(InputError, match="or other data"):
        biasprop.audit(model, batches(x.flip(0), labels.flip(0)), state=state)
    with pytest.raises(InputError, match="not those of the audit"):
        swapped = torch.cat([x[:1], x[1:].flip(0)]), torch.cat([labels[:1], labels[1:].flip(0)])
        biasprop.audit(model, batches(*swapped), state=state)
    with pytest.raises(InputError, match="not those of the audit"):
        biasprop.audit(model, batches(x, (labels + 1) % 4), state=state)
    with pytest.raises(InputError, match="hold 20 examples"):
        biasprop.audit(model, batches(x[:20], labels[:20]), state=state)
    other = nn.Sequential(*model[:2], nn.Tanh(), *model[3:]).eval()  # the same weights
    with pytest.raises(InputError, match="of another network"):
        biasprop.audit(other, batches(x, labels), state=state)
    with torch.no_grad():
        model[0].weight[0] += 1
    with pytest.raises(InputError, match="other weights"):
        biasprop.audit(model, batches(x, labels), state=state)
    assert state.read_bytes() == before
    state.write_bytes(b"nothing of the kind")
    with pytest.raises(FileError, match="audit"):
        biasprop.audit(model, batches(x, labels), state=state)
    write_tensors(state, "biasprop-audit-1", {"labels": labels}, {})
    with pytest.raises(FileError, match="not a complete audit"):
        biasprop.audit(model, batches(x, labels), state=state)


@pytest.mark.parametrize(
    ("model", "labels", "error", "message"),
    [
        (classifier(), [0, 4], InputError, "Label 4 is not one of the model's 4 classes"),
        (classifier(), [-1, 0], InputError, "Label -1"),
        (classifier(), [0.0, 1.0], InputError, "a whole number per example"),
        (classifier(), [0], InputError, "a whole number per example"),
        (classifier(), ["cat", "dog"], InputError, "a whole number per example"),
        (classifier(), [10**30, 0], InputError, "a whole number per example"),
        (classifier()[:4].eval(), [0, 1], TargetError, "logits"),
    ],
)
def test_bad_input(model, labels, error, message):
    x, _ = examples(2)
    with pytest.raises(error, match=message):
        biasprop.audit(model, [(x, labels)])


def test_batches_that_are_no_pairs():
    x, labels = examples(2)
    for batch in (x, {"x": x, "y": labels}, (x, labels, labels), (x.numpy(), labels), (torch.tensor(1.0), labels)):
        with pytest.raises(InputError, match="The loader must give"):
            biasprop.audit(classifier(), [batch])


def test_loaders_without_a_length():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return zip(x, labels, strict=True)

    model, (x, labels) = classifier(), examples()
    whole = biasprop.audit(model, batches(x, labels))
    assert same(biasprop.audit(model, torch.utils.data.DataLoader(Stream(), 4)), whole)
    assert same(biasprop.audit(model, (batch for batch in batches(x, labels))), whole)


def test_logits_that_are_all_zero():
    model = nn.Sequential(nn.Flatten(), nn.Linear(128, 3, bias=False)).double().eval()
    nn.init.zeros_(model[1].weight)
    found = biasprop.audit(model, batches(*examples(classes=3)))
    assert "every predicted logit is 0" in found.summary()
    assert found.figures()["bias over predicted logit"]["0.5"] is None
    assert found.plot().axes


def test_no_example():
    with pytest.raises(InputError, match="no example"):
        biasprop.audit(classifier(), [])


def test_a_network_without_bias_has_none_to_audit():
    model = biasprop.remove_bias(classifier())
    found = biasprop.audit(model, batches(*examples()))
    assert found.accuracy["w.x + b"] == found.accuracy["w.x alone"]
    assert found.biases.abs().max() < 1e-12
    assert "a median 0 %" in found.summary()
    assert found.sources == ()
    assert found.plot().axes


def test_text_figures_and_picture(tmp_path):
    found = biasprop.audit(classifier(), batches(*examples()))
    right = found.accuracy["w.x + b"]
    assert str(found).endswith(found.summary())
    assert f"the network is right on {100 * right:.1f} %" in found.summary()
    figures = json.loads(json.dumps(found.figures()))
    assert figures["examples"] == 23
    assert [row["name"] for row in figures["sources"]] == ["0", "1", "5", "7"]
    interval = binomtest(round(23 * right), 23).proportion_ci(method="wilson")
    assert figures["interval"]["w.x + b"] == pytest.approx([interval.low, interval.high])
    found.plot("a title with $ in it").savefig(tmp_path / "audit.png")
    assert (tmp_path / "audit.png").stat().st_size > 10_000


def test_labels_as_lists_and_inputs_in_half_precision():
    model, (x, labels) = classifier().half(), examples(4)
    found = biasprop.audit(model, [(x.half(), labels.tolist())])
    assert len(found) == 4
    torch.testing.assert_close(found.amounts.sum(), found.biases.sum(), rtol=1e-4, atol=1e-4)
