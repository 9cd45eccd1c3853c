"""Transformers, exactly: a vision transformer with a class token, a language model with padding."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_complete, randomise
from torch import nn

import biasprop
from biasprop.errors import TargetError


class Vit(nn.Module):
    """Patches beside a class token, read by the head; the layers are torch's own."""

    def __init__(self, post=False):
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 4, 4)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 5, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=not post)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x):
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(len(y), -1, -1), y], 1) + self.places
        return self.head(self.norm(self.body(y)[:, 0]))


class Language(nn.Module):
    """A decoder with RMS norms and SwiGLU; without any bias, so that w.x is the logit."""

    def __init__(self):
        super().__init__()
        self.words, self.norm = nn.Embedding(11, 8), nn.RMSNorm(8, 1e-6)
        self.qkv, self.out = nn.Linear(8, 24, bias=False), nn.Linear(8, 8, bias=False)
        self.up, self.gate = nn.Linear(8, 12, bias=False), nn.Linear(8, 12, bias=False)
        self.down, self.head = nn.Linear(12, 8, bias=False), nn.Linear(8, 11, bias=False)

    def forward(self, input_ids, attention_mask):
        y = self.words(input_ids)
        q, k, v = (t.unflatten(2, (2, 4)).transpose(1, 2) for t in self.qkv(self.norm(y)).chunk(3, 2))
        size = y.shape[1]
        seen = attention_mask[:, None, None].bool() & torch.ones(size, size, dtype=torch.bool).tril()
        y = y + self.out(F.scaled_dot_product_attention(q, k, v, seen).transpose(1, 2).flatten(2))
        z = self.norm(y)
        return {"logits": self.head(y + self.down(self.up(z) * F.silu(self.gate(z))))}


@pytest.fixture
def photo():
    return torch.randn(2, 1, 8, 8, dtype=torch.float64)


TEXT = {
    "input_ids": torch.tensor([[3, 1, 10, 2, 5], [4, 6, 7, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}


@cache
def captured(post):
    """An explainer: capturing takes longer than all the rest."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return biasprop.explainer(randomise(Vit(post)).double(), torch.randn(2, 1, 8, 8, dtype=torch.float64))


@pytest.mark.parametrize("mode", ["frozen", "tangent", "half"])
@pytest.mark.parametrize("post", [False, True])
@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
def test_a_vision_transformer(photo, rule, post, mode):
    assert_complete(captured(post).linearized(mode), photo, 1, mode, rule=rule)


def test_a_vision_transformer_in_single_precision(photo):
    x = photo.float()
    fast = biasprop.explainer(randomise(Vit()), x)
    plain = biasprop.Explainer(fast.model, compiled=False)
    for mode in ("frozen", "tangent", "half"):
        explanation = fast.linearized(mode)(x, 1)
        assert explanation.completeness_error.max() < 1e-5
        slow = plain.linearized(mode)(x, 1)
        torch.testing.assert_close(explanation.bias_attribution, slow.bias_attribution, rtol=1e-3, atol=1e-4)


def test_the_class_token_takes_no_part(photo):
    """Unattributed is only what enters at the class token before it has read a patch, whatever the rule."""
    model = randomise(Vit()).double()
    explain = biasprop.explainer(model, photo)
    one, *others = (explain(photo, 1, rule=rule) for rule in ("bias1", "bias2", "bias3"))
    assert one.unattributed.abs().min() > 1e-3
    for other in others:
        torch.testing.assert_close(other.unattributed, one.unattributed)
    first = model.body.layers[0]
    with torch.no_grad():
        for nothing in (model.token, model.places[:, :1], first.norm1.bias, first.self_attn.in_proj_bias):
            nothing.zero_()
    for rule in ("bias1", "bias2", "bias3"):
        assert explain(photo, 1, rule=rule).unattributed.abs().max() < 1e-14


def test_each_example_is_explained_alone(photo):
    model = randomise(Vit()).double()
    explanation = biasprop.explain(model, photo, 1)
    for i in range(2):
        alone = biasprop.explain(model, photo[i : i + 1], 1)
        torch.testing.assert_close(alone.attribution[0], explanation.attribution[i])
        torch.testing.assert_close(alone.sources.amounts.sum(), explanation.sources.amounts[i].sum())


@pytest.mark.parametrize("mode", ["frozen", "tangent", "half"])
def test_a_language_model_with_padding(mode):
    model = randomise(Language()).double()
    explanation = biasprop.explain(model, TEXT, linearization=mode)
    assert explanation.completeness_error.max() < 1e-11
    logits = model(**TEXT)["logits"]
    assert explanation.target == [(4, int(logits[0, 4].argmax())), (2, int(logits[1, 2].argmax()))]
    assert not explanation.attribution[1, 3:].any()


def test_without_biases_w_x_is_the_logit():
    explanation = biasprop.explain(randomise(Language()).double(), TEXT)
    mass = explanation.weight_attribution.abs().sum((1, 2))
    assert (explanation.bias.abs() < 1e-12 * mass).all()


def test_targets_of_a_language_model():
    model = randomise(Language()).double()
    explain = biasprop.explainer(model, TEXT)
    token = explain(TEXT, 7)
    assert token.target == [(4, 7), (2, 7)]
    place = explain(TEXT, (1, 3))
    torch.testing.assert_close(place.output, model(**TEXT)["logits"][:, 1, 3].detach())
    assert not place.attribution[:, 2:].any()  # it has not seen what comes later
    difference = explain(TEXT, lambda out: out["logits"][:, 1, 3] - out["logits"][:, 1, 4])
    other = explain(TEXT, (1, 4))
    torch.testing.assert_close(difference.weight, place.weight - other.weight)


class Translator(nn.Module):
    """Logits for each position of the decoder's text; more places than words."""

    def __init__(self, words=11):
        super().__init__()
        self.words, self.places, self.head = nn.Embedding(words, 6), nn.Embedding(20, 6), nn.Linear(6, words)

    def forward(self, input_ids, decoder_input_ids, attention_mask=None, decoder_attention_mask=None):
        context = self.words(input_ids).mean(1, keepdim=True)
        places = self.places(torch.arange(decoder_input_ids.shape[1]))
        return {"logits": self.head(torch.relu(self.words(decoder_input_ids) + places + context))}


@pytest.mark.parametrize("length", [3, 6])
def test_the_next_token_of_a_decoder(length):
    model = Translator().double().eval()
    text = {"input_ids": torch.randint(11, (2, 6)), "decoder_input_ids": torch.randint(11, (2, length))}
    masks = {
        "attention_mask": torch.ones(2, 6),
        "decoder_attention_mask": torch.tensor([[1] * length, [1, 1] + [0] * (length - 2)]),
    }
    assert [place for place, _ in biasprop.explain(model, text).target] == [length - 1, length - 1]
    found = biasprop.explain(model, {**text, **masks})
    best = model(**text)["logits"].argmax(2)
    assert found.target == [(length - 1, int(best[0, length - 1])), (1, int(best[1, 1]))]
    assert found.completeness_error.max() < 1e-12


def test_labels_of_tokens_are_no_next_tokens():
    class Tagger(Translator):
        def forward(self, ids, kinds):
            return torch.relu(self.words(ids) + self.places(kinds)) @ self.places.weight[:2].T

    with pytest.raises(TargetError, match="shape"):
        biasprop.explain(Tagger().eval(), torch.randint(11, (2, 4)), additional_forward_args=(torch.ones(2, 4).long(),))


def test_batches_of_another_size_need_no_other_capture():
    explain = biasprop.explainer(randomise(Language()).double(), TEXT)
    explain({name: values[:1] for name, values in TEXT.items()})
    assert "captured for 1 shape of input" in repr(explain)


def test_linearizations_share_what_is_captured(photo):
    frozen = biasprop.explainer(randomise(Vit()).double(), photo)
    tangent = frozen.linearized("tangent")
    fresh = biasprop.explain(frozen.model, photo, 1, linearization="tangent")
    torch.testing.assert_close(tangent(photo, 1).bias_attribution, fresh.bias_attribution)
    assert (frozen(photo, 1).linearization, tangent(photo, 1).linearization) == ("frozen", "tangent")
    assert frozen.captures is tangent.captures
    assert len(frozen.captures) == 1
    with pytest.raises(biasprop.InputError, match="linearization"):
        frozen.linearized("thawed")
