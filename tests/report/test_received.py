"""What has received most, as a list; everything as plain values and as a table."""

import json

import numpy as np
import pytest
import torch
from helpers import IMAGES, convolutional

import biasprop
from biasprop import InputError

NAMES = ["age", "weight", "height", "pressure"]


def test_the_largest_features_come_first(table):
    rows = table.top(3, 1, features=NAMES)
    order = table.attribution[1].abs().argsort(descending=True)[:3].tolist()
    assert [row.name for row in rows] == [NAMES[k] for k in order]
    for row, k in zip(rows, order, strict=True):
        assert row.attribution == pytest.approx(table.attribution[1, k].item())
        assert row.weight_attribution == pytest.approx(table.weight_attribution[1, k].item())
        assert row.bias_attribution == pytest.approx(table.bias_attribution[1, k].item())
    assert len(table.top()) == 4


def test_of_an_image_patches_and_of_several_tensors_the_largest_of_all(image, pair):
    rows = image.top(1000)
    assert sum(row.attribution for row in rows) == pytest.approx(image.attribution[0].sum().item())
    assert rows[0].name.startswith("row ")
    assert {row.name.partition("[")[0] for row in pair.top(100)} >= {"a"}


def test_bad_arguments(image):
    with pytest.raises(InputError, match="no example 3"):
        image.top(example=3)
    for k in (0, -1, 2.5):
        with pytest.raises(InputError, match="k must be a positive whole number"):
            image.top(k)
    several = biasprop.explain(convolutional(), IMAGES, targets=[0, 1])
    for act in (several.top, several.to_pandas):
        with pytest.raises(InputError, match="for_target"):
            act()


@pytest.mark.parametrize("targets", [None, [0, 1]])
def test_plain_values_hold_everything(targets):
    made = biasprop.explain(convolutional(), IMAGES, targets=targets)
    again = json.loads(json.dumps(made.to_dict()))
    assert again["rule"] == "bias1"
    assert len(again["examples"]) == len(made)
    for i, row in enumerate(again["examples"]):
        np.testing.assert_allclose(row["output"], made.output[i])
        np.testing.assert_allclose(row["inputs"][0]["weight_attribution"], made.weight_attribution[i])
        np.testing.assert_allclose(row["inputs"][0]["bias_attribution"], made.bias_attribution[i])
        np.testing.assert_allclose(np.sum([one["amount"] for one in row["sources"]], 0), made.bias[i])
        target = row["target"]
        assert target == ([one[i] for one in made.target] if targets else made.target[i])


def test_a_table_has_a_row_for_each_number(table, pair):
    pytest.importorskip("pandas")
    frame = table.to_pandas(NAMES)
    assert frame.feature.tolist() == NAMES * 2
    np.testing.assert_allclose(frame[frame.example == 1].attribution, table.attribution[1])
    np.testing.assert_allclose(frame.groupby("example").attribution.sum() + table.unattributed.numpy(), table.output)
    whole = pair.to_pandas()
    assert len(whole) == sum(torch.numel(kind) for kind in pair.attribution)
    np.testing.assert_allclose(whole.groupby("example").attribution.sum() + pair.unattributed.numpy(), pair.output)
