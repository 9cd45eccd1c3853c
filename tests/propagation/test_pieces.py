"""A batch in pieces: the same as in one, whatever is asked; where that cannot be, it stays in one."""

import pytest
import torch
from helpers import assert_same, randomise
from reference_models import MODELS, make
from torch import nn

import biasprop
from biasprop import InputError, TargetError
from biasprop.attribution import main_line
from biasprop.propagation import pieces as cut
from biasprop.propagation.pieces import Asked, first_of, in_pieces

N = 7
TARGETS = [2, "predicted", [0, 1, 2, 0, 1, 2, 0], torch.tensor([2, 1, 0, 2, 1, 0, 1])]


@pytest.fixture
def sweeps(monkeypatch):
    """In as many pieces as may be; the sizes of those that are swept."""
    sizes = []
    sweep = main_line.sweep

    def counted(tape, *args):
        sizes.append(tape.batch)
        return sweep(tape, *args)

    monkeypatch.setattr(main_line, "sweep", counted)
    monkeypatch.setattr(cut, "NEAR", 1)
    return sizes


def whole(monkeypatch, explainer, *args, **options):
    with monkeypatch.context() as here:
        here.setattr(cut, "NEAR", 2**60)
        return explainer(*args, **options)


def several(x):
    return torch.cat([x, -x, 0.5 * x, x.flip(0)] * N)[:N]


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("rule", ["bias1", "bias3"])
def test_every_model_is_explained_as_in_one_piece(name, rule, sweeps, monkeypatch):
    case = make(name)
    x = several(case.x)
    target = TARGETS[len(name) % len(TARGETS)]
    found = case.explainer(x, target, rule)
    assert sweeps == [2, 2, 3]
    assert_same(found, whole(monkeypatch, case.explainer, x, target, rule))
    assert sweeps == [2, 2, 3, 7]
    torch.testing.assert_close(found.probability, whole(monkeypatch, case.explainer, x, target, rule).probability)


@pytest.mark.parametrize(
    "options",
    [
        {"targets": "all"},
        {"targets": [0, [0, 1, 2, 0, 1, 2, 0], torch.arange(7) % 3]},
        {"targets": torch.arange(14).reshape(7, 2) % 3},
        {"at": "1"},
        {"at": "4", "targets": [0, 2]},
        {"handover": "auto"},
        {"handover": ["0", "auto"], "rule": "bias1/bias3"},
        {"sources": ["0"]},
        {"sources": ["0"], "zero_others": True},
    ],
    ids=lambda options: " ".join(options),
)
def test_whatever_is_asked(options, sweeps, monkeypatch):
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    model = randomise(nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 3))).double()
    x = torch.randn(N, 2, 8, 8, dtype=torch.float64)
    explainer = biasprop.explainer(model, x)
    found = explainer(x, **options)
    assert sweeps == [2, 2, 3]
    expected = whole(monkeypatch, explainer, x, **options)
    assert found.target == expected.target
    assert found.handover == expected.handover
    for one, other in zip(found.parts, expected.parts, strict=True):
        for name in ("value", "weight", "beta", "product"):
            torch.testing.assert_close(getattr(one, name), getattr(other, name))
    for name in ("output", "bias", "unattributed", "withheld", "bypassed"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))
    torch.testing.assert_close(found.sources.amounts, expected.sources.amounts)
    if "at" not in options:
        assert_same(found.at("3"), expected.at("3"))


class Entangled(nn.Module):
    """Examples along other dimensions, folded with time, and a mask beside them."""

    def __init__(self):
        super().__init__()
        self.into, self.step, self.out = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x, mask):
        y = torch.relu(self.into(x)).transpose(0, 1)  # time, examples, features
        folded = torch.relu(self.step(y.reshape(-1, 4)))  # an example's times lie apart
        y = folded.reshape(y.shape) * mask.T[:, :, None]
        return {"logits": self.out(y.sum(0)), "length": mask.sum(1)}


def test_extra_arguments_hidden_tensors_and_several_outputs_are_cut_where_the_examples_are(sweeps, monkeypatch):
    model, x = randomise(Entangled()).double(), torch.randn(N, 5, 3, dtype=torch.float64)
    mask = (torch.rand(N, 5) > 0.3).double()
    explainer = biasprop.Explainer(model)
    expected = whole(monkeypatch, explainer, x, additional_forward_args=mask)
    for at in (None, "step", "relu_1"):
        found = explainer(x, additional_forward_args=mask, at=at)
        assert sweeps[-3:] == [2, 2, 3]
        assert_same(found, whole(monkeypatch, explainer, x, additional_forward_args=mask, at=at))
    assert_same(explainer(x, additional_forward_args=mask), expected)


class Texts(nn.Module):
    """Tokens that see those before them, and a row of logits at each place."""

    def __init__(self):
        super().__init__()
        self.words, self.mix, self.head = nn.Embedding(11, 6), nn.Linear(6, 6), nn.Linear(6, 11)

    def forward(self, input_ids, attention_mask):
        y = torch.relu(self.mix(self.words(input_ids) * attention_mask[..., None]))
        return {"logits": self.head(y.cumsum(1))}


def test_texts_keep_their_ends(sweeps, monkeypatch):
    lengths = torch.tensor([5, 3, 4, 5, 2, 1, 5])
    mask = (torch.arange(5) < lengths[:, None]).long()
    texts = {"input_ids": torch.randint(1, 11, (N, 5)) * mask, "attention_mask": mask}
    explainer = biasprop.Explainer(randomise(Texts()).double())
    found = explainer(texts)
    assert sweeps == [2, 2, 3]
    assert_same(found, whole(monkeypatch, explainer, texts))
    assert [place for place, _ in found.target] == (lengths - 1).tolist()


def test_what_stays_in_one_piece(sweeps):
    model, x = (
        randomise(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))).double(),
        torch.randn(N, 4).double(),
    )
    labels = torch.arange(N) % 3
    biasprop.explain(model, x, lambda out: out[torch.arange(N), labels])  # it knows the batch
    biasprop.explain(model, x[:3])  # no two pieces of two
    assert sweeps == [7, 3]


class Numbered(nn.Module):
    """Reads a mask by the numbers of the examples, or adds to each what stands at its number in a table."""

    def __init__(self, table):
        super().__init__()
        self.layer, self.table = nn.Linear(4, 3), nn.Parameter(torch.randn(20, 4)) if table else None

    def forward(self, x, mask=None):
        numbers = torch.arange(len(x), device=x.device)
        rows = self.table[: len(x)] if mask is None else mask[numbers]
        return self.layer(x * rows)


class Sized(nn.Module):
    """Knows how many examples there are."""

    def forward(self, x):
        return x / len(x) + 1


def test_what_goes_by_the_numbers_of_the_examples_stays_in_one_piece(sweeps):
    x, mask = torch.randn(N, 4).double(), (torch.rand(N, 4) > 0.5).double()
    biasprop.explain(randomise(Numbered(True)).double(), x)
    biasprop.explain(randomise(Numbered(False)).double(), x, additional_forward_args=mask)
    biasprop.explain(Sized().double().eval(), x, 0)
    assert sweeps == [7, 7, 7]


def test_bert_with_padding_is_explained_as_in_one_piece(sweeps):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=50, **sizes)
    model = transformers.BertForSequenceClassification(config).double().eval()
    mask = (torch.arange(9) < torch.tensor([9, 9, 5, 9, 9, 9, 3])[:, None]).long()
    texts = {"input_ids": torch.randint(1, 50, (N, 9)), "attention_mask": mask}
    explainer = biasprop.Explainer(model, check="never")
    found = explainer(texts)
    torch.testing.assert_close(found.output, model(**texts).logits.amax(1).detach())
    for k in (2, 6):
        alone = explainer({name: ids[k : k + 1] for name, ids in texts.items()})
        torch.testing.assert_close(found.tokens.attribution[k], alone.tokens.attribution[0])


class Fixed(nn.Module):
    """For a batch of seven alone."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return torch.relu(self.layer(x)).reshape(N, 3)


def test_a_graph_for_one_size_stays_in_one_piece(sweeps):
    biasprop.explain(randomise(Fixed()).double(), torch.randn(N, 4).double())
    assert sweeps == [7]


def test_errors_speak_of_the_whole_batch(sweeps):
    model, x = randomise(nn.Sequential(nn.Linear(4, 3))).double(), torch.randn(N, 4).double()
    for target in ([0, 1], torch.tensor([0] * 6 + [3]), [0.5] * 7):
        with pytest.raises(TargetError) as caught:
            biasprop.explain(model, x, target)
        assert "(2, 3)" not in str(caught.value)
    assert sweeps == [2, 2]  # the third piece holds the target that is none
    with pytest.raises(TargetError, match="entries for a batch of 7"):
        biasprop.explain(model, x, [0, 1])
    with pytest.raises(InputError, match="example 6"):
        biasprop.explain(model, torch.cat([x[:6], torch.full((1, 4), torch.nan, dtype=torch.float64)]))


def test_a_piece_is_about_as_large_as_it_should_be(monkeypatch):
    graph = biasprop.Explainer(nn.Linear(4, 3).eval())
    graph = graph.graph(graph.check(torch.zeros(100, 4)))
    asked = Asked(({}, (torch.zeros(100, 4),), ()), 0, None, {})
    monkeypatch.setattr(cut, "NEAR", 1000)
    for size, sizes in ((10, [100]), (11, [50, 50]), (100, [10] * 10), (990, [2] * 50), (10**9, [2] * 50), (0, [100])):
        assert [len(one.network[1][0]) for one in in_pieces(graph, asked, size)] == sizes
    lengths = [len(one.network[1][0]) for one in in_pieces(graph, asked, 35)]
    assert (sum(lengths), len(lengths), max(lengths) - min(lengths)) == (100, 4, 0)
    assert len(first_of(graph, asked.network)[1][0]) == 2
