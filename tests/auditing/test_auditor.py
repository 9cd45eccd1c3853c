"""The audit: against dense Jacobians, on every kind of classifier and loader."""

import pytest
import torch
from audits import batches, classifier, examples, same
from torch import nn
from torch.func import jacrev, vmap

import biasprop
from biasprop import InputError, TargetError


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
    assert [axis.get_title() for axis in found.plot().axes][2] == "where b comes from"


def test_labels_as_lists_and_inputs_in_half_precision():
    model, (x, labels) = classifier().half(), examples(4)
    found = biasprop.audit(model, [(x.half(), labels.tolist())])
    assert len(found) == 4
    torch.testing.assert_close(found.amounts.sum(), found.biases.sum(), rtol=1e-4, atol=1e-4)
