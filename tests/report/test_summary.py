"""The text of an explanation."""

import re
from types import SimpleNamespace

import pytest
import torch
from helpers import IMAGES, ROWS, convolutional, small_mlp

import biasprop
from biasprop.report import equation, feature_name, summarize
from biasprop.results import Part
from biasprop.rules import Compensation

NAMES = ["age", "weight", "height", "pressure"]


def test_text(image, table):
    text = table.summary(NAMES)
    assert "f(x) =" in text
    assert "w.x" in text
    assert all(name in text for name in NAMES)
    assert "complete to" in text
    assert f"output {image.target[0]} (" in str(image)
    names = [f"class {k}" for k in range(9)]
    assert f"class {image.target[0]} {100 * image.probability[0].item():.0f} %: f(x)" in image.summary(classes=names)
    assert repr(image) == "Explanation(3 examples, input (3, 3, 10, 12), rule='bias1')"


def test_the_equation_is_that_of_the_numbers(table):
    f, linear, b, share = map(
        float,
        re.fullmatch(r"f\(x\) = (\S+) = w\.x (\S+) \+ b (\S+) \(b is (\S+) % of f\)", equation(table, 1)).groups(),
    )
    assert f == pytest.approx(table.output[1].item(), rel=1e-3)
    assert b == pytest.approx(table.bias[1].item(), rel=1e-3)
    assert linear == pytest.approx((table.output - table.bias)[1].item(), rel=1e-3)
    assert share == round(100 * (table.bias / table.output)[1].item())


def test_a_bias_that_is_rounding_alone_has_no_sign():
    numbers = {"output": torch.tensor([2.0]), "bias": torch.tensor([-1e-9]), "bypassed": torch.zeros(1)}
    assert equation(SimpleNamespace(**numbers), 0).endswith("(b is 0 % of f)")


def test_what_bypasses_a_hidden_tensor_is_said():
    model = torch.nn.Sequential(small_mlp(4), torch.nn.ReLU())
    explanation = biasprop.explain(Skips(model).eval(), ROWS, 0, at="inner")
    assert " + bypassed " in equation(explanation, 0)


class Skips(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) + x


def test_the_largest_features_come_first(table):
    named = table.named(features=NAMES)
    lines = [line for line in summarize(named, examples=1).splitlines() if "= w*x" in line]
    values = [float(re.search(r"([+-]\S+) = w\*x", line).group(1)) for line in lines]
    order = table.attribution[0].abs().argsort(descending=True)
    assert [line.split()[0] for line in lines] == [NAMES[i] for i in order]
    assert values == pytest.approx(table.attribution[0][order].tolist(), rel=1e-3)
    assert len([line for line in summarize(named, examples=1, features=2).splitlines() if "= w*x" in line]) == 2
    assert "... and 1 more" in summarize(named, examples=1)


def test_what_was_withheld_or_is_unattributed_is_said():
    class Padded(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.pad(x, (0, 1), value=2.0).sum(1)

    assert "2 of b reaches no input (unattributed)" in str(biasprop.explain(Padded().eval(), ROWS))
    withheld = biasprop.explain(small_mlp(), ROWS, sources="0")
    assert f"{withheld.withheld[0].item():.4g} of b withheld" in str(withheld)


def test_rule_temperature_and_linearization_are_said():
    model = small_mlp()
    assert "(bias1, T = 0.5, frozen)" in str(biasprop.explain(model, ROWS, rule=Compensation(0.5)))
    assert "(bias1, frozen)" in str(biasprop.explain(model, ROWS))
    assert "(bias3, tangent)" in str(biasprop.explain(model, ROWS, rule="bias3", linearization="tangent"))
    mixed = biasprop.explain(model, ROWS, linearization={"1": "half"})
    assert "(bias1, frozen, 1 half)" in str(mixed)


def test_several_targets_one_after_the_other():
    text = str(biasprop.explain(convolutional(), IMAGES, targets="all"))
    assert text.startswith("5 targets\n")
    assert text.count("Explanation of 3 predictions") == 3
    assert text.endswith("... and 2 more targets")


def test_features_are_named_by_index_where_names_do_not_fit():
    part = Part("x", torch.zeros(2, 3, 4), torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4))
    assert feature_name(part, 7) == "x[1, 3]"
    assert feature_name(part, 7, NAMES) == "x[1, 3]"
    row = Part("x", torch.zeros(2, 4), torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))
    assert feature_name(row, 3, NAMES) == "pressure"
    assert feature_name(row, 3, NAMES[:2]) == "x[3]"


def test_of_a_photo_it_names_patches():
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 4, 5, stride=3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 18 * 27, 3)]
    explanation = biasprop.explain(torch.nn.Sequential(*layers).eval(), torch.randn(1, 3, 56, 84))
    assert str(explanation).startswith("Explanation of 1 prediction (")
    sums = explanation.regions(3).attribution[0].reshape(19, 28)
    row, column = divmod(sums.abs().argmax().item(), 28)
    line = str(explanation).splitlines()[2]
    assert line.split("  ")[2] == f"rows {3 * row}-{min(3 * row + 2, 55)}, columns {3 * column}-{3 * column + 2}"
    assert f"{sums[row, column].item():+.4g} = w*x" in line


def test_names_that_are_given_once_are_said_everywhere(table, image, tmp_path):
    named = table.named(features=NAMES)
    assert str(named) == table.summary(NAMES)
    assert named.top(1)[0].name in NAMES
    named.save(tmp_path / "e.safetensors")
    assert str(biasprop.load(tmp_path / "e.safetensors")) == str(named)
    assert f"{named.top(1, 0)[0].name} = " in named.html()
    assert named.example(1).features == tuple(NAMES)
    classes = [f"class {k}" for k in range(9)]
    said = image.named(classes)
    assert str(said) == image.summary(classes=classes)
    assert said.plot(1).get_suptitle() == image.plot(1, classes=classes).get_suptitle()
    assert said.likeliest(3).for_target(2).classes == tuple(classes)
    assert all(one in said._repr_html_() for one in [f"class {image.target[0]} "])
