"""The gallery of an audit's page: which examples stand out, and that they are explained as they were audited."""

import base64
import re

import pytest
import torch
from audits import batches, classifier, examples
from helpers import randomise
from torch import nn
from torch.utils.data import TensorDataset

import biasprop
from biasprop import InputError
from biasprop.auditing import Findings
from biasprop.auditing.gallery import galleries_of
from biasprop.loading import Preparation, source_of


def test_what_stands_out_by_hand():
    found = Findings(
        labels=torch.tensor([0, 1, 1, 0, 2]),
        classes=torch.tensor([[1, 0, 1], [0, 1, 1], [1, 0, 1], [0, 1, 0], [2, 2, 2]]),
        outputs=torch.tensor([2.0, 4.0, 1.0, 3.0, 0.0], dtype=torch.float64),
        biases=torch.tensor([1.0, 4.0, 0.9, 6.0, 1.0], dtype=torch.float64),
        amounts=torch.zeros(0),
        masses=torch.zeros(0),
        sources=(),
    )
    assert list(found.standing_out().values()) == [[1, 0], [3, 2], [3, 1, 2, 0]]
    assert list(found.standing_out(1).values()) == [[1], [3], [3]]
    assert list(found.standing_out(0).values()) == [[], [], []]


@pytest.mark.parametrize("outputs", [4, 1])
def test_each_card_opens_what_the_audit_says_of_it(outputs):
    model, (x, labels) = classifier(outputs), examples(23, max(outputs, 2))
    data = TensorDataset(x, labels)
    audit = biasprop.audit(model, data, progress=False)
    explainer = biasprop.explainer(model, x[:1])
    galleries = galleries_of(audit, explainer, source_of(data, Preparation()), ("cat, tom", "dog"), 3, progress=False)
    kinds = audit.standing_out(3)
    assert [title for title, _ in galleries] == [title for title, rows in kinds.items() if rows]
    seen = 0
    for title, cards in galleries:
        for row, card in zip(kinds[title], cards, strict=True):
            first = card.page.targets[0]
            assert first.output == pytest.approx(audit.outputs[row].item())
            assert first.bias == pytest.approx(audit.biases[row].item())
            whole = biasprop.explain(model, x[row : row + 1], 0 if outputs == 1 else audit.classes[row, 0].item())
            assert first.beta.sum() == pytest.approx(whole.bias_attribution.sum().item())
            predicted, label = audit.classes[row, 0].item(), labels[row].item()
            assert len(card.page.targets) == (2 if outputs > 1 and predicted != label else 1)
            assert (", labelled" in card.caption) is (predicted != label)
            names = ["cat", "dog", "class 2", "class 3"]
            assert card.caption.startswith(f"{row}: {names[predicted]}")
            seen += 1
    assert seen > 3


def test_the_page_holds_the_gallery_and_the_examples_left_out_keep_their_places(tmp_path):
    model, (x, labels) = classifier(), examples()
    x[2] = torch.nan  # left out, so that rows and positions differ
    data = TensorDataset(x, labels)
    audit = biasprop.audit(model, data, state=tmp_path / "state", progress=False)
    assert audit.positions.tolist() == [0, 1, *range(3, 23)]
    again = type(audit).of(tmp_path / "state")
    for made in (audit, again):
        page = made.html(tmp_path / "a.html", model=model, data=data, most=2, progress=False)
        assert (tmp_path / "a.html").read_text() == page
        assert "largest share of bias in the predicted logit" in page
        most = int(audit.positions[audit.standing_out(1)["largest share of bias in the predicted logit"][0]])
        assert f"<span>{most}: class" in page


def test_other_data_another_network_and_half_of_both_are_refused():
    model, (x, labels) = classifier(), examples()
    data = TensorDataset(x, labels)
    audit = biasprop.audit(model, data, progress=False)
    with pytest.raises(InputError, match="give both model and data"):
        audit.html(model=model)
    with pytest.raises(InputError, match="give both model and data"):
        audit.html(data=data)
    with pytest.raises(InputError, match=r"The logit of \d+ was .*other data, or another network"):
        audit.html(model=model, data=TensorDataset(x.flip(0), labels), progress=False)
    with pytest.raises(InputError, match="another network"):
        audit.html(model=randomise(classifier()), data=data, progress=False)
    with pytest.raises(InputError, match=r"Example \d+ of the audit cannot be read from these data: there is none"):
        audit.html(model=model, data=TensorDataset(x[:1], labels[:1]), progress=False)


def test_of_a_loader_and_of_a_mapping_of_logits():
    class Mapping(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = classifier()

        def forward(self, x):
            return {"logits": self.net(x)}

    model, (x, labels) = Mapping().eval(), examples()
    audit = biasprop.audit(model, batches(x, labels), progress=False)
    page = audit.html(model=biasprop.explainer(model, x[:1]), data=TensorDataset(x, labels), progress=False)
    assert page.count('<details class="card">') >= 8


def test_photos_lie_under_their_maps(tmp_path):
    model, (x, labels) = classifier(), examples()
    page = biasprop.audit(model, TensorDataset(x, labels), progress=False).html(
        model=model, data=TensorDataset(x, labels), progress=False
    )
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) >= 8
    assert all(base64.b64decode(one).startswith(b"\x89PNG") for one in pictures)
