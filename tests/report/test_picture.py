"""Pictures: what they show, and that something is drawn."""

import numpy as np
import pytest
import torch
from helpers import IMAGES, contrast, convolutional, randomise
from torch import nn

import biasprop
from biasprop import InputError
from biasprop.report import draw, source_name

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def test_pictures(image, table, pair, tmp_path):
    panel = image.plot(1, title="an image")
    assert {"input", "f(x) = w . x + b", "where b comes from"} <= {a.get_title() for a in panel.axes}
    assert "an image" in panel.get_suptitle()
    bars = table.plot(feature_names=["age", "weight", "height", "pressure"])
    assert any("age =" in label.get_text() for label in bars.axes[0].get_yticklabels())
    for k, figure in enumerate([panel, bars, pair.plot(part=1), image.at("1").plot()]):
        figure.savefig(tmp_path / f"{k}.png")
        assert contrast(tmp_path / f"{k}.png") > 10
    with pytest.raises(InputError, match="no example 7"):
        image.plot(7)
    with pytest.raises(InputError, match="no part 3"):
        pair.plot(part=3)


def test_names_with_formulas_are_drawn_as_text(tmp_path):
    model = randomise(nn.Sequential(nn.Linear(2, 1)))
    figure = biasprop.explain(model, torch.ones(1, 2)).plot(title=r"$\bad$", feature_names=[r"a $\bad$", "$"])
    assert r"\$\bad\$" in figure.get_suptitle()
    assert r"a \$\bad\$ = 1" in {label.get_text() for label in figure.axes[0].get_yticklabels()}
    figure.savefig(tmp_path / "a.png")
    assert contrast(tmp_path / "a.png") > 10


def test_the_maps_are_the_channels_summed_on_one_symmetric_scale(image):
    expected = {
        "w * x": image.weight_attribution,
        "beta": image.bias_attribution,
        "w * x + beta": image.attribution,
    }
    values = {name: kind[1].sum(0).numpy() for name, kind in expected.items()}
    limit = max(np.percentile(np.abs(one), 99.5) for one in values.values())
    maps = {name: axis.images[1] for axis in image.plot(1, patch=1).axes if (name := _term(axis)) in expected}
    assert set(maps) == set(expected)
    for name, shown in maps.items():
        np.testing.assert_allclose(shown.get_array(), values[name])
        low, high = shown.get_clim()
        assert low == -high
        assert high == pytest.approx(limit)
    coarse = next(axis.images[1] for axis in image.plot(1, patch=3).axes if _term(axis) == "beta")
    np.testing.assert_allclose(coarse.get_array()[:3, 3:6], values["beta"][:3, 3:6].sum())


def test_the_target_is_named_with_its_probability(image):
    with torch.no_grad():
        probability = 100 * image.probability[1].item()
    names = [f"class {i}" for i in range(9)]
    chosen = image.target[1]
    assert image.plot(1, classes=names).get_suptitle().startswith(f"class {chosen} {probability:.0f} %\n")
    assert image.plot(1).get_suptitle().startswith(f"output {chosen} ({probability:.0f} %)\n")
    assert image.plot(1, title="mine", classes=names).get_suptitle().startswith("mine\nf(x)")


def _term(axis):
    return axis.get_title().partition(",")[0]


def test_the_label_is_said_where_it_is_another(image):
    names = [f"class {i}" for i in range(9)]
    chosen = image.target[1]
    for label in (chosen, f"class {chosen}"):
        assert "labelled" not in image.plot(1, classes=names, label=label).get_suptitle()
    other = (chosen + 1) % 3
    for label in (other, f"class {other}"):
        assert f" %, labelled class {other}\n" in image.plot(1, classes=names, label=label).get_suptitle()


def test_a_waterfall_goes_from_zero_to_the_output_the_largest_features_first(table):
    axis = table.plot(1, feature_names=list("abcd")).axes[0]
    order = table.attribution[1].abs().argsort(descending=True)
    bars, w, beta, (total,) = ([*container] for container in axis.containers)
    np.testing.assert_allclose([bar.get_width() for bar in bars], table.attribution[1][order])
    np.testing.assert_allclose([bar.get_width() for bar in w], table.weight_attribution[1][order])
    np.testing.assert_allclose([bar.get_width() for bar in beta], table.bias_attribution[1][order])
    ends = np.cumsum([0, *table.attribution[1][order]])
    np.testing.assert_allclose([bar.get_x() for bar in bars], ends[:-1])
    np.testing.assert_allclose([total.get_x(), total.get_width(), ends[-1]], [0, table.output[1], table.output[1]])
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert [label[0] for label in labels[:4]] == ["abcd"[k] for k in order]
    assert labels[4] == "f(x)"


def test_a_waterfall_reaches_the_output_whatever_goes_elsewhere(pair):
    padded = biasprop.explain(
        randomise(nn.Sequential(nn.Unflatten(1, (1, 1, 4)), nn.ZeroPad2d(1), nn.Conv2d(1, 2, 3), nn.Flatten())),
        torch.rand(1, 4),
    )
    wide = biasprop.explain(randomise(nn.Sequential(nn.Linear(50, 3))), torch.rand(1, 50))
    cases = [
        (pair.plot(), "other inputs"),
        (wide.plot(), "30 others"),
        (biasprop.explain(randomise(nn.Linear(3, 2)), torch.rand(1, 3), sources=[]).plot(), "withheld sources"),
        (padded.plot(), None),
    ]
    for figure, said in cases:
        bars, *_, (total,) = ([*container] for container in figure.axes[0].containers)
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert said is None or said in labels
        assert sum(bar.get_width() for bar in bars) == pytest.approx(total.get_width())


def test_panels_are_chosen(image, table):
    row = image.plot(panels=("input", "w", "sum"))
    assert [_term(axis) for axis in row.axes[:3]] == ["input", "w * x", "w * x + beta"]
    assert len(image.plot(panels="sources").axes) == 1
    assert table.plot(panels=["equation", "sources"]).axes[0].get_title() == "f(x) = w . x + b"
    for panels in ("features", ("sum", "x"), (), 3, [3]):
        with pytest.raises(InputError, match="panels must be some of 'beta', 'equation', 'input'"):
            image.plot(panels=panels)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"classes": 3}, "classes must be a list of names, not 3"),
        ({"classes": "cat"}, "classes must be a list of names, not 'cat'"),
        ({"patch": 0}, "The size of a patch must be a positive whole number, not 0"),
        ({"patch": "8"}, "The size of a patch must be a positive whole number, not '8'"),
    ],
)
def test_what_no_picture_can_be_made_of(image, bad, message):
    with pytest.raises(InputError, match=message):
        image.plot(**bad)


def test_a_notebook_shows_it_without_pyplot(image):
    formatter = pytest.importorskip("IPython.core.formatters").PNGFormatter()
    assert formatter(image.plot())[:8] == b"\x89PNG\r\n\x1a\n"


def test_sources_are_named_with_their_operation_where_the_path_is_a_number(image):
    axis = next(axis for axis in image.plot().axes if axis.get_title() == "where b comes from")
    labels = {label.get_text() for label in axis.get_yticklabels()}
    assert "0 (conv2d)" in labels
    assert source_name("features.3.squeeze", "conv2d") == "features.3.squeeze"


def test_an_image_of_ones_own(image):
    picture = np.linspace(0, 255, 120).reshape(10, 12)
    shown = next(axis for axis in image.plot(image=picture).axes if axis.get_title() == "input").images[0]
    np.testing.assert_allclose(shown.get_array(), picture / 255)
    for shape in ((12, 10), (10, 12, 4), (3, 10, 12)):
        with pytest.raises(InputError, match=r"must be \(H, W\) or \(H, W, 3\)"):
            image.plot(image=np.zeros(shape))


def test_one_target_at_a_time():
    several = biasprop.explain(convolutional(), IMAGES, targets=[0, 1])
    with pytest.raises(InputError, match=r"of one target: explanation\.for_target\(0\)\.plot\(\)"):
        draw(several)
    assert draw(several.for_target(1), 2).axes
