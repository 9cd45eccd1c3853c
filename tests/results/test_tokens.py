"""Tokens of a text and words of its tokens: sums that stay complete, and how tokenizers mark words."""

import pytest
import torch
from folders import byte_level, classifier, wordpiece
from torch import nn

import biasprop
from biasprop import FileError, InputError
from biasprop.files import read_tensors, write_tensors
from biasprop.results.archive import FORMAT
from biasprop.results.words import spans

TEXTS = ["the film was unbelievable .", "good"]


class Twice(nn.Module):
    """Looks the ids up in two tables, and other ids in a third."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = nn.Embedding(9, 4), nn.Embedding(9, 3), nn.Embedding(9, 5)
        self.out = nn.Linear(12, 2)

    def forward(self, a, b):
        return self.out(torch.cat([self.one(a), self.two(a), self.three(b)], -1).mean(1).relu())


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A tokenizer, and explanations of one and of both targets of two texts of different length."""
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    tokenizer, model = wordpiece(folder), classifier(folder)
    x = tokenizer(TEXTS, padding=True, return_tensors="pt")
    explainer = biasprop.Explainer(model)
    return tokenizer, explainer(x), explainer(x, targets=[0, 1]), x["input_ids"]


def test_the_sums_over_the_embedding(bert):
    _, one, both, ids = bert
    assert repr(one.tokens) == "Tokens(9 tokens, 2 examples)"
    torch.testing.assert_close(one.tokens.ids, ids)
    for name in ("attribution", "weight_attribution", "bias_attribution"):
        torch.testing.assert_close(getattr(one.tokens, name), getattr(one, name).sum(-1))
        torch.testing.assert_close(getattr(both.tokens, name), getattr(both, name).sum(-1))
    assert both.tokens.attribution.shape == (2, 2, 9)
    torch.testing.assert_close(one.tokens.attribution.sum(1) + one.unattributed, one.output, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.for_target(1).tokens.attribution, both.tokens.attribution[:, 1])


def test_words_add_up_without_the_padding(bert):
    tokenizer, one, both, _ = bert
    words = one.tokens.words(tokenizer)
    assert [w.texts for w in words] == [
        ["[CLS]", "the", "film", "was", "unbelievable", ".", "[SEP]"],
        ["[CLS]", "good", "[SEP]"],
    ]
    assert words[0].positions[4] == [4, 5, 6]
    assert repr(words[1]) == "Words(3: [CLS] good [SEP])"
    for i, found in enumerate(words):
        torch.testing.assert_close(found.attribution.sum(), one.tokens.attribution[i].sum())
        for j, several in enumerate(both.tokens.words(tokenizer)[i].weight_attribution):
            torch.testing.assert_close(several.sum(), both.tokens.weight_attribution[i, j].sum())
    with pytest.raises(InputError, match="must be one of transformers, .* not a str"):
        one.tokens.words("bert")


def test_padding_that_has_received_something_stays(bert):
    tokenizer, one, _, ids = bert
    part = one.parts[0]
    unmasked = biasprop.results.Tokens(ids, *(kind.sum(-1) + 1 for kind in (part.weight[0], part.beta[0])))
    assert unmasked.words(tokenizer)[1].texts == ["[CLS]", "good", "[SEP]", *["[PAD]"] * 6]


def test_one_example_keeps_its_ids(bert):
    _, one, _, ids = bert
    torch.testing.assert_close(one.example(1).tokens.ids, ids[1:])
    torch.testing.assert_close(one.example(1).tokens.attribution, one.tokens.attribution[1:])


def test_ids_that_are_looked_up_twice_are_one_text(tmp_path):
    a = torch.randint(0, 9, (3, 6))
    explanation = biasprop.explain(Twice().eval(), (a, a.clone()), targets="all")
    assert len(explanation.parts) == 3
    first, second = explanation.tokens
    assert (first.parts, second.parts) == ((0, 1), (2,))
    one, two, three = explanation.attribution
    torch.testing.assert_close(first.attribution, one.sum(-1) + two.sum(-1))
    torch.testing.assert_close(second.attribution, three.sum(-1))
    assert [t.parts for t in explanation.example(2).tokens] == [(0, 1), (2,)]
    explanation.save(tmp_path / "e.safetensors")
    assert [t.parts for t in biasprop.load(tmp_path / "e.safetensors").tokens] == [(0, 1), (2,)]


def test_an_explanation_of_numbers_has_no_tokens(table):
    with pytest.raises(InputError, match="has no tokens"):
        _ = table.tokens


def test_a_model_that_adds_tokens():
    class Begun(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(9, 4), nn.Linear(4, 2)

        def forward(self, ids):
            return self.out(self.table(torch.cat([torch.zeros_like(ids[:, :1]), ids], 1)).mean(1))

    ids = torch.randint(0, 9, (2, 5))
    tokens = biasprop.explain(Begun().eval(), ids).tokens
    assert torch.equal(tokens.ids, torch.cat([torch.zeros(2, 1, dtype=torch.long), ids], 1))
    assert tokens.attribution.shape == (2, 6)


def test_save_and_load(bert, tmp_path):
    path = tmp_path / "e.safetensors"
    for explanation in bert[1:3]:
        explanation.save(path)
        loaded = biasprop.load(path)
        assert loaded.linearization == "frozen"
        assert str(loaded) == str(explanation)
        torch.testing.assert_close(loaded.tokens.ids, explanation.tokens.ids)


def test_a_file_from_before_there_were_texts(bert, tmp_path):
    path = tmp_path / "e.safetensors"
    bert[1].save(path)
    header, tensors = read_tensors(path, FORMAT)
    del tensors["ids.0"]
    write_tensors(path, FORMAT, tensors, {k: v for k, v in header.items() if k not in ("ids", "linearization")})
    loaded = biasprop.load(path)
    assert (loaded.linearization, loaded.ids) == ("tangent", ())


@pytest.mark.parametrize(
    ("header", "ids", "message"),
    [
        ({"ids": 3}, None, "not one number, or none, for each name"),
        ({"ids": [0, 0]}, None, "not one number, or none, for each name"),
        ({"ids": [True]}, None, "not one number, or none, for each name"),
        ({"ids": [-1]}, None, "its tensors are"),
        ({"ids": []}, None, "its tensors are"),
        ({"linearization": 5}, None, "its linearization is no text"),
        ({}, torch.ones(2, 9), "'ids.0' holds no ids"),
        ({}, -torch.ones(2, 9, dtype=torch.long), "'ids.0' holds no ids"),
        ({}, torch.ones(3, 9, dtype=torch.long), "is not of 2 examples"),
        ({}, torch.ones(2, dtype=torch.long), "is not of 2 examples"),
    ],
)
def test_files_with_other_ids_are_refused(bert, tmp_path, header, ids, message):
    path = tmp_path / "e.safetensors"
    bert[1].save(path)
    before, tensors = read_tensors(path, FORMAT)
    write_tensors(path, FORMAT, tensors | ({} if ids is None else {"ids.0": ids}), before | header)
    with pytest.raises(FileError, match=message):
        biasprop.load(path)


class Marks:
    """A tokenizer whose ids are the places in a list of tokens."""

    all_special_ids, pad_token_id = (0,), None

    def __init__(self, *tokens):
        self.tokens = ["<s>", *tokens]

    def get_vocab(self):
        return {token: i for i, token in enumerate(self.tokens)}

    def convert_ids_to_tokens(self, ids):
        return [self.tokens[i] for i in ids]

    def convert_tokens_to_string(self, tokens):
        return "".join(tokens).replace("▁", " ").replace("Ġ", " ").replace("Ċ", "\n")


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (("un", "##do", "it"), [[0], [1, 2], [3]]),
        (("▁un", "do", "▁it", "."), [[0], [1, 2], [3, 4]]),
        (("un", "do", "Ġit", "Ċ", "un", "Ġ", "1"), [[0], [1, 2], [3], [4], [5], [6, 7]]),
        (("un", "do", "it"), [[0], [1], [2], [3]]),
    ],
)
def test_how_tokenizers_mark_words(tokens, expected):
    assert spans(range(len(tokens) + 1), Marks(*tokens)) == expected


def test_bytes_are_put_together_to_letters(tmp_path):
    pytest.importorskip("transformers")
    tokenizer = byte_level(tmp_path)
    ids = torch.tensor([tokenizer("a café\n not é")["input_ids"]])
    found = biasprop.results.Tokens(ids, torch.ones(ids.shape), torch.zeros(ids.shape)).words(tokenizer)[0]
    assert found.texts == ["a", "café", "Ċ", "not", "é"]
    assert found.attribution.sum() == ids.numel()
