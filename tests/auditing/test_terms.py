"""Which class the network and each of its two terms alone predict."""

import pytest
import torch

from biasprop.auditing import TERMS, logits_of, predicted_classes


def test_logits_of_several_classes():
    linear, bias = torch.tensor([[1.0, 2, 0], [0, 0, 3]]), torch.tensor([[5.0, 0, 0], [0, 4, 0]])
    found = predicted_classes(linear, bias)
    assert found.tolist() == [[0, 1, 0], [1, 2, 1]]
    assert found.dtype == torch.int64
    assert found.shape[1] == len(TERMS)


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_the_sign_of_one_logit(shape):
    linear, bias = torch.tensor([1.0, -1, -1]).reshape(shape), torch.tensor([-2.0, 2, 1]).reshape(shape)
    assert predicted_classes(linear, bias).tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 1]]


def test_the_logits_of_a_mapping():
    x = torch.ones(2, 3)
    assert logits_of({"logits": x, "hidden": None}) is x
    assert logits_of(x) is x
    assert logits_of({"hidden": x}) == {"hidden": x}
