"""The table of a text's tokens: in order where it is short, the largest where it is long; it adds up."""

import pytest
import torch
from torch import nn

import biasprop
from biasprop.report.token_table import token_table
from biasprop.results import Tokens


class Spells:
    """A tokenizer without any marks."""

    all_special_ids, pad_token_id = (), None

    def get_vocab(self):
        return {}

    def convert_ids_to_tokens(self, ids):
        return [f"t{i}" if i != 3 else "\x1b[2J" for i in ids]

    def convert_tokens_to_string(self, tokens):
        return "".join(tokens)


def table(count, tokenizer=None, **options):
    w = torch.arange(1.0, count + 1)[None] * torch.tensor([1.0, -1.0]).repeat(count)[:count]
    text = Tokens(torch.arange(count)[None], w, torch.ones(1, count))
    return token_table(text, 0, tokenizer, **options)


def test_a_short_text_is_in_order():
    lines = table(5)
    assert lines[0].split() == ["token", "w*x", "beta", "sum"]
    assert [line.split()[0] for line in lines[1:]] == ["0", "1", "2", "3", "4"]
    assert lines[2].split() == ["1", "-2", "+1", "-1"]
    assert len({len(line) for line in lines}) == 1


def test_a_long_text_gives_the_largest_with_their_places():
    lines = table(30, Spells())
    assert [line.split()[:2] for line in lines[1:4]] == [["t28", "[28]"], ["t29", "[29]"], ["t26", "[26]"]]
    assert lines[21].startswith("... 10 more")
    total = sum(float(line.split()[-1]) for line in lines[1:])
    assert total == pytest.approx(15.0)
    assert len(table(30, most=2)) == 4


def test_escapes_are_shown():
    assert table(5, Spells())[4].startswith("\\x1b[2J ")


def test_what_received_nothing_is_counted():
    text = Tokens(torch.tensor([[4, 5, 0, 0]]), torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([[0, 1.0, 0, 0]]))
    assert [line.split()[0] for line in token_table(text, 0)] == ["token", "4", "5", "2"]
    assert token_table(text, 0)[-1] == "2 tokens received nothing"


def test_the_summary_of_texts_and_numbers():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.out = nn.Embedding(9, 4), nn.Embedding(9, 4), nn.Linear(11, 2)

        def forward(self, a, b, x):
            return self.out(torch.cat([self.one(a).sum(1), self.two(b).sum(1), x], 1))

    ids = torch.arange(3)[None]
    explanation = biasprop.explain(Mixed().eval(), (ids, ids.clone(), torch.ones(1, 3)), targets="all")
    text = explanation.summary(tokenizer=Spells())
    assert text.startswith("2 targets\n")
    assert text.count("    one:\n") == text.count("    two:\n") == 2
    assert text.count("t1 ") == 4
    assert text.count("= w*x") == 6
