"""An audit is resumed without losing or repeating an example, and with the same data and network only."""

import os
import random
import time
from pathlib import Path

import pytest
import torch
from audits import batches, classifier, examples, same
from children import kill, started
from safetensors.torch import save_file
from torch import nn

import biasprop
from biasprop import FileError, InputError
from biasprop.auditing import FORMAT
from biasprop.auditing.state import read_state
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
    assert len(read_tensors(state, FORMAT)[1]["labels"]) == 15
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
    with pytest.raises(InputError, match="hold 20 examples, but the audit in .* had come to 23"):
        biasprop.audit(model, batches(x[:20], labels[:20]), state=state)
    other = nn.Sequential(*model[:2], nn.Tanh(), *model[3:]).eval()  # the same weights
    with pytest.raises(InputError, match="other weights or other operations"):
        biasprop.audit(other, batches(x, labels), state=state)
    with torch.no_grad():
        model[0].weight[0] += 1
    with pytest.raises(InputError, match="other weights"):
        biasprop.audit(model, batches(x, labels), state=state)
    assert state.read_bytes() == before
    state.write_bytes(b"nothing of the kind")
    with pytest.raises(FileError, match="audit"):
        biasprop.audit(model, batches(x, labels), state=state)
    write_tensors(state, FORMAT, {"labels": labels}, {})
    with pytest.raises(FileError, match="not a complete audit"):
        biasprop.audit(model, batches(x, labels), state=state)


KILLS = int(os.environ.get("BIASPROP_KILLS", "10"))

SLOWLY = """
import sys, time
import torch
from audits import batches, classifier, examples
import biasprop
from biasprop.auditing import ledger

torch.set_num_threads(1)
torch.manual_seed(0)
ledger.EVERY = 0.0
model, (x, labels) = classifier(), examples(60)

def slowly():
    for batch in batches(x, labels, 2):
        yield batch
        print("batch", flush=True)
        time.sleep(0.01)

print(biasprop.audit(model, slowly(), state=sys.argv[1]).summary(), flush=True)
"""


def child(state):
    """An audit in a process of its own, which has examined its first examples."""
    paths = [str(Path(__file__).parents[1]), str(Path(biasprop.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    process, line = started(SLOWLY, state, environment=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})
    assert line == "batch"
    return process


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
@pytest.mark.slow
def test_killed_at_any_moment_it_loses_and_repeats_nothing(tmp_path):
    state, drawn, done = tmp_path / "state.safetensors", random.Random(KILLS), 0
    torch.manual_seed(0)
    model, (x, labels) = classifier(), examples(60)
    for _ in range(KILLS):
        process = child(state)
        time.sleep(drawn.uniform(0, 1.0 / KILLS))
        kill(process)
        before, done = done, len(read_tensors(state, FORMAT)[1]["labels"]) if state.exists() else 0
        assert before <= done <= 60
    examined = []
    explainer = biasprop.explainer(model, x[:2])
    split = explainer.split
    explainer.split = lambda u: (examined.append(len(u)), split(u))[1]
    assert same(biasprop.audit(explainer, batches(x, labels), state=state), biasprop.audit(model, batches(x, labels)))
    assert sum(examined) == 60 - done + (done > 0)
    assert [p.name for p in tmp_path.iterdir()] == [state.name]  # neither locks nor temporary files


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="no such locks on Windows")
def test_two_audits_on_one_state(tmp_path):
    state = tmp_path / "state.safetensors"
    torch.manual_seed(0)
    model, (x, labels) = classifier(), examples(60)
    process = child(state)
    try:
        with pytest.raises(FileError, match=rf"in use by another process {process.pid}: wait until that has finished"):
            biasprop.audit(model, batches(x, labels), state=state)
    finally:
        kill(process)
    assert same(biasprop.audit(model, [(x, labels)], state=state), biasprop.audit(model, [(x, labels)]))


@pytest.fixture
def state(tmp_path):
    """The file of an audit that came as far as its eighth example."""
    x, labels = examples()
    biasprop.audit(classifier(), batches(x[:8], labels[:8]), state=tmp_path / "state.safetensors")
    return tmp_path / "state.safetensors"


def changed_bytes(whole, count):
    drawn = random.Random(0)
    for place in drawn.sample(range(len(whole)), count):
        yield whole[:place] + bytes([whole[place] ^ drawn.randrange(1, 256)]) + whole[place + 1 :]


def changed_bits(whole):
    for bit in range(8 * len(whole)):
        yield whole[: bit // 8] + bytes([whole[bit // 8] ^ 1 << bit % 8]) + whole[bit // 8 + 1 :]


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_changed_state_is_noticed(state, every):
    whole = state.read_bytes()
    for changed in changed_bits(whole) if every else changed_bytes(whole, 300):
        state.write_bytes(changed)
        with pytest.raises(FileError, match=r"damaged|Cannot read|not one that biasprop|another version"):
            read_state(state)
    state.write_bytes(whole)
    assert len(read_state(state).entry) == 8


def holding(tensor, value):
    changed = tensor.clone()
    changed.view(-1)[0] = value
    return changed


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("labels", lambda t: t[:3], "'labels' has shape .3,., and must have .8,."),
        ("positions", lambda t: t[:3], "'labels' has shape .8,., and must have .3,."),
        ("positions", lambda t: t.flip(0), "its positions are not in order"),
        ("labels", lambda t: t.double(), "'labels' is torch.float64, and must be torch.int64"),
        ("labels", lambda t: holding(t, -1), "a class is negative"),
        ("positions", lambda t: t[:0], "'labels' has shape"),
        ("classes", lambda t: t[:, :2].contiguous(), "'classes' has shape .8, 2."),
        ("outputs", lambda t: holding(t, torch.nan), "'outputs' holds NaN"),
        ("biases", lambda t: holding(t, torch.inf), "'biases' holds NaN or infinite"),
        ("biases", lambda t: holding(t, 1e6), "the amounts of its sources do not add up to the bias"),
        ("biases", lambda t: None, "its tensors are"),
    ],
)
def test_a_state_that_does_not_fit_together_is_refused_whatever_its_checksum(state, name, change, message):
    header, tensors = read_tensors(state, FORMAT)
    changed = change(tensors.pop(name))
    write_tensors(state, FORMAT, tensors if changed is None else tensors | {name: changed}, header)
    with pytest.raises(FileError, match=f"is not a complete audit: {message}"):
        biasprop.audit(classifier(), batches(*examples()), state=state)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("network", 3, "a digest is no text"),
        ("data", None, "a digest is no text"),
        ("data", "xyz", "a digest is no number"),
        ("sources", [["0", "conv2d", "1p0", "1p0"]] * 4, "a source is there twice"),
        ("sources", [["0", 1, "1p0", "1p0"]], "a source has no name"),
        ("sources", 3, "not iterable"),
        ("sources", [["0", "conv2d"]], "not enough values"),
        ("sources", [["0", "conv2d", 1.5, "1p0"]], "'1.5' is no exact sum"),
        ("sources", [["0", "conv2d", "1p99999", "1p0"]], "no exact sum"),
        ("sources", [["0", "conv2d", "1p4000", "1p4000"]], "too large"),
        ("sources", [["0", "conv2d", "1p1076", "1p1075"]], "a mass is smaller than its amount"),
        ("sources", [["0", "conv2d", "1p1096", "1p1096"]], "the amounts of its sources do not add up to the bias"),
    ],
)
def test_a_state_whose_header_is_of_other_types_is_refused(state, name, value, message):
    header, tensors = read_tensors(state, FORMAT)
    write_tensors(state, FORMAT, tensors, header | {name: value})
    with pytest.raises(FileError, match=f"is not a complete audit: .*{message}"):
        biasprop.audit(classifier(), batches(*examples()), state=state)


def test_a_state_of_the_earlier_format_is_refused(tmp_path):
    save_file({"labels": torch.ones(1)}, tmp_path / "state", {"format": "biasprop-audit-1", "biasprop": "{}"})
    with pytest.raises(FileError, match="another version of biasprop .biasprop-audit-1; .*make it again"):
        biasprop.audit(classifier(), batches(*examples()), state=tmp_path / "state")
