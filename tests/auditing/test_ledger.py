"""An audit is resumed without losing or repeating an example, and with the same data and network only."""

import pytest
import torch
from audits import batches, classifier, examples, same
from torch import nn

import biasprop
from biasprop import FileError, InputError
from biasprop.files import read_tensors, write_tensors

pytestmark = pytest.mark.usefixtures("nothing_left_open")


class Interrupted(Exception):
    pass


def until(loader, count):
    yield from loader[:count]
    raise Interrupted


@pytest.mark.parametrize("size", [5, 3, 23])
def test_an_interrupted_audit_goes_on_without_losing_or_repeating_an_example(tmp_path, size):
    model, (x, labels) = classifier(), examples()
    whole = biasprop.audit(model, batches(x, labels))
    state = tmp_path / "state.safetensors"
    with pytest.raises(Interrupted):
        biasprop.audit(model, until(batches(x, labels), 3), state=state)
    assert len(read_tensors(state, "biasprop-audit-1")[1]["labels"]) == 15
    explainer, examined = biasprop.explainer(model, x[:2]), []
    split = explainer.split
    explainer.split = lambda u: (examined.append(len(u)), split(u))[1]
    assert same(biasprop.audit(explainer, batches(x, labels, size), state=state), whole)
    assert sum(examined) == 1 + 8  # the first one, to see that the network is the same
    examined.clear()
    assert same(biasprop.audit(explainer, batches(x, labels, size), state=state), whole)  # finished: not run again
    assert examined == [1]


def test_interrupted_while_it_reads_what_is_done_it_leaves_the_state_as_it_is(tmp_path):
    model, (x, labels) = classifier(), examples()
    state = tmp_path / "state.safetensors"
    whole = biasprop.audit(model, batches(x, labels), state=state)
    before = state.read_bytes()
    with pytest.raises(Interrupted):
        biasprop.audit(model, until(batches(x, labels), 2), state=state)
    assert state.read_bytes() == before
    assert same(biasprop.audit(model, batches(x, labels), state=state), whole)


def test_more_data_of_the_same_order_are_added(tmp_path):
    model, (x, labels) = classifier(), examples()
    state = tmp_path / "state.safetensors"
    biasprop.audit(model, batches(x[:7], labels[:7]), state=state)
    assert same(biasprop.audit(model, batches(x, labels), state=state), biasprop.audit(model, batches(x, labels)))


def test_a_bad_example_does_not_cost_the_ones_before(tmp_path):
    model, (x, labels) = classifier(), examples()
    state = tmp_path / "state.safetensors"
    broken = x.clone()
    broken[12, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="NaN"):
        biasprop.audit(model, batches(broken, labels), state=state)
    assert same(biasprop.audit(model, batches(x, labels), state=state), biasprop.audit(model, batches(x, labels)))


def test_a_state_of_other_data_or_other_weights_is_refused(tmp_path):
    model, (x, labels) = classifier(), examples()
    state = tmp_path / "state.safetensors"
    biasprop.audit(model, batches(x, labels), state=state)
    before = state.read_bytes()
    with pytest.raises(InputError, match="or other data"):
        biasprop.audit(model, batches(x.flip(0), labels.flip(0)), state=state)
    with pytest.raises(InputError, match="not those of the audit"):
        swapped = torch.cat([x[:1], x[1:].flip(0)]), torch.cat([labels[:1], labels[1:].flip(0)])
        biasprop.audit(model, batches(*swapped), state=state)
    with pytest.raises(InputError, match="not those of the audit"):
        biasprop.audit(model, batches(x, (labels + 1) % 4), state=state)
    with pytest.raises(InputError, match="hold 20 examples"):
        biasprop.audit(model, batches(x[:20], labels[:20]), state=state)
    other = nn.Sequential(*model[:2], nn.Tanh(), *model[3:]).eval()  # the same weights
    with pytest.raises(InputError, match="of another network"):
        biasprop.audit(other, batches(x, labels), state=state)
    with torch.no_grad():
        model[0].weight[0] += 1
    with pytest.raises(InputError, match="other weights"):
        biasprop.audit(model, batches(x, labels), state=state)
    assert state.read_bytes() == before
    state.write_bytes(b"nothing of the kind")
    with pytest.raises(FileError, match="audit"):
        biasprop.audit(model, batches(x, labels), state=state)
    write_tensors(state, "biasprop-audit-1", {"labels": labels}, {})
    with pytest.raises(FileError, match="not a complete audit"):
        biasprop.audit(model, batches(x, labels), state=state)
