"""Token ids are explained at their embeddings; what is counted from them is no id any more."""

import pytest
import torch
from helpers import randomise
from torch import nn

import biasprop
from biasprop import InputError


class Reader(nn.Module):
    """Embeddings of tokens and of positions that are counted from the ids, an average without padding."""

    def __init__(self):
        super().__init__()
        self.words, self.places, self.head = nn.Embedding(9, 4), nn.Embedding(7, 4), nn.Linear(4, 3)

    def forward(self, ids, scale=None):
        mask = (ids != 0).long()
        y = torch.relu(self.words(ids) + self.places(mask.cumsum(1)))
        y = y if scale is None else y * scale[:, None, None]
        return self.head((y * mask[:, :, None]).sum(1))


IDS = torch.tensor([[3, 1, 8, 2, 5], [4, 4, 7, 0, 0]])


@pytest.fixture
def model():
    return randomise(Reader()).double()


def test_at_the_embeddings_alone(model):
    explanation = biasprop.explain(model, IDS)
    assert [part.name for part in explanation.parts] == ["words"]
    assert explanation.attribution.shape == (2, 5, 4)
    torch.testing.assert_close(explanation.input, model.words(IDS).detach())
    assert explanation.completeness_error.max() < 1e-12
    assert torch.equal(explanation.ids[0], IDS)


def test_hidden_tokens_get_exactly_nothing(model):
    explanation = biasprop.explain(model, IDS)
    for rule in ("bias1", "bias2", "bias3"):
        assert not biasprop.explain(model, IDS, rule=rule).attribution[1, 3:].any()
    assert explanation.attribution[1, :3].abs().sum(-1).min() > 0


def test_in_a_batch_as_alone(model):
    explain = biasprop.explainer(model, IDS)
    whole = explain(IDS, 1)
    for i in range(2):
        torch.testing.assert_close(explain(IDS[i : i + 1], 1).attribution[0], whole.attribution[i])


def test_ids_and_numbers(model):
    scale = torch.tensor([0.5, 2.0], dtype=torch.float64)
    explanation = biasprop.explain(model, (IDS, scale), 0)
    assert [part.value.shape for part in explanation.parts] == [(2, 5, 4), (2,)]
    assert explanation.completeness_error.max() < 1e-12
    named = biasprop.explain(model, {"scale": scale, "ids": IDS}, 0)
    torch.testing.assert_close(named.attribution[1], explanation.attribution[0])
    passed_on = biasprop.explain(model, IDS, 0, additional_forward_args=scale)
    assert [part.name for part in passed_on.parts] == ["words"]
    torch.testing.assert_close(passed_on.output, explanation.output)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(IDS + 1, "The id 9 is outside of the vocabulary of 'words', which has 9"), (IDS - 1, "The id -1 is outside")],
)
def test_ids_outside_of_the_vocabulary(model, wrong, said):
    explain = biasprop.explainer(model, IDS)
    for call in (explain, lambda ids: biasprop.explain(model, ids)):
        with pytest.raises(InputError, match=said):
            call(wrong)


def test_a_mapping_with_nothing_to_attribute_to(model):
    with pytest.raises(InputError, match=r"Nothing in \['attention_mask', 'position_ids'\] can be attributed to"):
        biasprop.explain(model, {"attention_mask": IDS, "position_ids": IDS})


def test_integers_that_are_not_looked_up(model):
    class Unread(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(9, 4), nn.Linear(5, 3)

        def forward(self, ids):
            return self.head(ids * 1.0)

    with pytest.raises(InputError, match="does not look them up in an embedding"):
        biasprop.explain(Unread().eval(), IDS)


class Translator(nn.Module):
    """Reads the ids twice, the second time shifted to the right, as classifiers with a decoder do."""

    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, ids):
        shifted = ids.new_zeros(ids.shape)
        shifted[:, 1:] = ids[:, :-1].clone()
        shifted[:, 0] = 2
        return self.head(torch.relu(self.words(ids)).sum(1) * torch.relu(self.words(shifted)).sum(1))


def test_ids_that_the_model_shifts_are_a_text_of_their_own():
    model = randomise(Translator()).double()
    explanation = biasprop.explain(model, IDS, 1)
    one, two = explanation.tokens
    assert torch.equal(one.ids, IDS)
    assert two.ids.tolist() == [[2, 3, 1, 8, 2], [2, 4, 4, 7, 0]]
    for tokens, part in zip((one, two), explanation.parts, strict=True):
        torch.testing.assert_close(part.value, model.words(tokens.ids).detach())
        torch.testing.assert_close(tokens.attribution, (part.product + part.beta).reshape(2, 5, 4).sum(-1))


class Backwards(nn.Module):
    """Tokens first, as recurrent layers and XLNet have them; ``flat`` looks up all tokens of all examples in a row."""

    def __init__(self, flat):
        super().__init__()
        self.words, self.body, self.head, self.flat = nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 3), flat

    def forward(self, ids):
        ids = ids.T.contiguous()
        y = self.words(ids.flatten()).unflatten(0, ids.shape) if self.flat else self.words(ids)
        return self.head(torch.relu(self.body(y)).sum(0))


@pytest.mark.parametrize("flat", [False, True])
def test_embeddings_with_the_examples_behind_the_tokens(flat):
    model = randomise(Backwards(flat)).double()
    explanation = biasprop.explain(model, IDS, 1)
    assert explanation.completeness_error.max() < 1e-12
    assert torch.equal(explanation.tokens.ids, IDS)
    model.flat = False
    for i in range(2):
        for k in range(5):
            (expected,) = biasprop.explain(model, IDS[i : i + 1, k : k + 1], 1).tokens.weight_attribution
            torch.testing.assert_close(explanation.tokens.weight_attribution[i, k], expected[0])


def test_what_is_counted_may_be_yes_or_no():
    """As transformers counts positions where no mask is given."""

    class Counting(Reader):
        def forward(self, ids):
            seen = ids != 0
            places = (
                seen.cumsum(1) + seen.prod(1, keepdim=True) - seen.int().cumsum(1).prod(1, keepdim=True).clamp(0, 1)
            )
            return self.head(torch.relu(self.words(ids) + self.places(places)).sum(1))

    made = randomise(Counting()).double()
    torch.testing.assert_close(biasprop.explain(made, IDS).output, made(IDS).max(1).values)
