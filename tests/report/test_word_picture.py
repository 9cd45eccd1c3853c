"""Words on coloured grounds: every word is there, within the figure, and can be read."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from folders import classifier, wordpiece
from helpers import contrast
from matplotlib.patches import FancyBboxPatch

import biasprop
from biasprop.report import draw

pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("nothing_left_open")

TEXTS = ["the film was unbelievable , but not good .", "good " * 21]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = wordpiece(folder)
    return tokenizer, biasprop.explain(classifier(folder), tokenizer(TEXTS, padding=True, return_tensors="pt"))


def words_in(axis):
    return [text.get_text() for text in axis.texts][1:]


def test_the_words_in_three_blocks(made, tmp_path):
    tokenizer, explanation = made
    figure = explanation.plot(tokenizer=tokenizer, title="a text")
    assert figure.get_suptitle().startswith("a text\nf(x) = ")
    expected = explanation.tokens.words(tokenizer)[0]
    kinds = (expected.weight_attribution, expected.bias_attribution, expected.attribution)
    for axis, name, values in zip(figure.axes, ("w * x", "beta", "w * x + beta"), kinds, strict=False):
        assert axis.texts[0].get_text() == f"{name}, sum {values.sum().item():.4g}"
        assert words_in(axis)[-len(expected) :] == expected.texts
        grounds = [patch for patch in axis.patches if isinstance(patch, FancyBboxPatch)]
        for ground, value in zip(grounds, values.tolist(), strict=True):
            red, _, blue, _ = ground.get_facecolor()
            assert (red > blue) == (value > 0)
    assert [axis.get_title() for axis in figure.axes[3:]] == ["f(x) = w . x + b", "where b comes from"]
    figure.savefig(tmp_path / "a.png")
    assert contrast(tmp_path / "a.png") > 10


def test_one_scale(made):
    """The same amount has the same colour in every block."""
    tokenizer, explanation = made
    axes = explanation.plot(1, tokenizer=tokenizer).axes[:3]
    scaled = [text.get_text() for axis in axes for text in axis.texts if text.get_text().startswith("+")]
    words = explanation.tokens.words(tokenizer)[1]
    kinds = (words.weight_attribution, words.bias_attribution, words.attribution)
    assert scaled == [f"{max(kind.abs().max().item() for kind in kinds):+.3g}"]


def test_long_texts_are_wrapped(made):
    tokenizer, explanation = made
    figure = explanation.plot(1, tokenizer=tokenizer)
    axis = figure.axes[0]
    boxes = [patch.get_bbox() for patch in axis.patches]
    assert len({box.y0 for box in boxes}) == 2
    assert max(box.x1 for box in boxes) <= axis.get_xlim()[1]
    assert max(box.y1 for box in boxes) <= axis.get_ylim()[0]
    for line in {box.y0 for box in boxes}:
        along = sorted((box.x0, box.x1) for box in boxes if box.y0 == line)
        assert all(left[1] < right[0] for left, right in pairwise(along))


def test_without_a_tokenizer_the_ids_are_drawn(made):
    assert words_in(draw(made[1]).axes[0])[2:5] == ["2", "5", "6"]


def test_words_that_are_no_formula_no_escape_and_longer_than_a_line(made):
    explanation = made[1]

    class Odd:
        all_special_ids, pad_token_id = (), None
        words = ("$x", "\x1b[2J", "W" * 900)

        def get_vocab(self):
            return {}

        def convert_ids_to_tokens(self, ids):
            return [self.words[i % 3] for i in ids]

        def convert_tokens_to_string(self, tokens):
            return "".join(tokens)

    axis = draw(explanation, tokenizer=Odd()).axes[0]
    found = set(words_in(axis))
    assert {r"\$x", r"\x1b[2J"} <= found
    assert any("…" in word for word in found)
    assert max(patch.get_bbox().x1 for patch in axis.patches) <= axis.get_xlim()[1]


def test_letters_can_be_read_on_their_ground(made):
    tokenizer, explanation = made
    blocks = draw(explanation, tokenizer=tokenizer).axes[:3]
    grounds = [np.array(patch.get_facecolor()[:3]).mean() for axis in blocks for patch in axis.patches]
    letters = [text.get_color() for axis in blocks for text in axis.texts[-len(axis.patches) :]]
    assert "white" in letters
    for ground, colour in zip(grounds, letters, strict=True):
        assert (colour == "white") == (ground < 0.5) or 0.35 < ground < 0.65
