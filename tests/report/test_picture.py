"""Pictures: what they show, and that something is drawn."""

import numpy as np
import pytest
import torch
from helpers import IMAGES, contrast, convolutional, randomise
from torch import nn

import biasprop
from biasprop import InputError
from biasprop.report import BLUE, RED, draw, highlight

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def test_pictures(image, table, pair, tmp_path):
    panel = image.plot(1, title="an image")
    assert {"w * x, top 10 %", "beta, top 10 %", "w * x + beta, top 10 %"} <= {a.get_title() for a in panel.axes}
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


def test_the_maps_are_the_channels_summed_and_their_scale_is_symmetric(image):
    maps = {axis.get_title().partition(",")[0]: axis.images[0] for axis in image.plot(1).axes[1:4]}
    expected = {
        "w * x": image.weight_attribution,
        "beta": image.bias_attribution,
        "w * x + beta": image.attribution,
    }
    assert set(maps) == set(expected)
    for name, shown in maps.items():
        values = expected[name][1].sum(0).numpy()
        np.testing.assert_allclose(shown.get_array(), values)
        low, high = shown.get_clim()
        assert low == -high
        assert high == pytest.approx(np.percentile(np.abs(values), 99.5))


def test_bars_are_the_features_by_size(table):
    axis = table.plot(1).axes[0]
    bars = [bar.get_width() for bar in axis.patches]
    order = table.attribution[1].abs().argsort()
    np.testing.assert_allclose(bars[:4], table.weight_attribution[1][order])
    np.testing.assert_allclose(bars[4:], table.bias_attribution[1][order])
    assert axis.get_title() == "all features"


def test_the_largest_pixels_are_coloured_by_their_sign():
    values = np.array([[3.0, -2.0], [0.5, 0.0]])
    shown = highlight(np.ones((2, 2)), values, 2)
    for at, colour in (((0, 0), RED), ((0, 1), BLUE), ((1, 0), "#ffffff"), ((1, 1), "#ffffff")):
        np.testing.assert_allclose(shown[at], [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    np.testing.assert_allclose(highlight(np.ones((2, 2)), 0 * values, 4), 1)


def test_an_image_of_ones_own(image):
    picture = np.linspace(0, 255, 120).reshape(10, 12)
    shown = image.plot(image=picture).axes[0].images[0]
    np.testing.assert_allclose(shown.get_array(), picture / 255)
    for shape in ((12, 10), (10, 12, 4), (3, 10, 12)):
        with pytest.raises(InputError, match=r"must be \(H, W\) or \(H, W, 3\)"):
            image.plot(image=np.zeros(shape))


def test_one_target_at_a_time():
    several = biasprop.explain(convolutional(), IMAGES, targets=[0, 1])
    with pytest.raises(InputError, match=r"of one target: explanation\.for_target\(0\)\.plot\(\)"):
        draw(several)
    assert draw(several.for_target(1), 2).axes
