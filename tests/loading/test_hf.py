"""Models of transformers from folders: with all their weights and nothing that runs code, or a clear refusal."""

import json
import sys

import pytest
import torch
from folders import classifier, encoder, wordpiece
from safetensors.torch import load_file, save_file

from biasprop import BiaspropError, CaptureError, FileError, InputError, MissingExtra
from biasprop.loading import (
    Encoder,
    Preparation,
    batches,
    load_model,
    load_tokenizer,
    output_names,
    read,
    require_logits,
    text_items,
)

transformers = pytest.importorskip("transformers")


@pytest.fixture
def bert(tmp_path):
    wordpiece(tmp_path)
    classifier(tmp_path)
    return tmp_path


def test_the_class_is_that_of_the_configuration(bert, tmp_path):
    ids = torch.tensor([[2, 5, 3]])
    expected = transformers.BertForSequenceClassification.from_pretrained(bert).eval()(ids).logits
    bars = transformers.utils.logging.is_progress_bar_enabled()
    model = load_model(f"hf:{bert}")
    assert transformers.utils.logging.is_progress_bar_enabled() == bars
    assert type(model).__name__ == "BertForSequenceClassification"
    assert not model.training
    torch.testing.assert_close(model(ids).logits, expected)
    assert output_names(model) == ["BAD", "GOOD"]
    require_logits(model, {"input_ids": ids})


def test_without_a_class_there_is_no_head(tmp_path):
    encoder(tmp_path)
    change(tmp_path, architectures=None)
    model = load_model(f"hf:{tmp_path}")
    assert type(model).__name__ == "BertModel"
    assert output_names(model) == []
    with pytest.raises(InputError, match="BertModel returns last_hidden_state, pooler_output and no logits"):
        require_logits(model, {"input_ids": torch.tensor([[2, 5, 3]])})
    require_logits(model, {"nothing": torch.tensor([[2, 5, 3]])})  # it fails, and the explanation will say so


@pytest.mark.parametrize("name", ["pipeline", "AutoTokenizer", "torch", "__name__", "NoSuchModel"])
def test_a_configuration_names_models_and_nothing_else(tmp_path, name):
    encoder(tmp_path)
    change(tmp_path, architectures=[name])
    assert type(load_model(f"hf:{tmp_path}")).__name__ == "BertModel"


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def spoil(folder, what):
    """Make the folder that a bad case needs."""
    weights = folder / "model.safetensors"
    if what == "no config":
        (folder / "config.json").unlink()
    elif what == "no weights":
        weights.unlink()
    elif what == "pickle":
        torch.save(load_file(weights), folder / "pytorch_model.bin")
        weights.unlink()
    elif what == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif what == "config":
        (folder / "config.json").write_text("{")
    elif what == "kind":
        change(folder, model_type="no_such_model")
    elif what == "code":
        change(folder, model_type="own", auto_map={"AutoConfig": "own.Own", "AutoModel": "own.Own"})
        (folder / "own.py").write_text("raise SystemExit('code ran')")
    elif what == "no head":
        save_file({k: v for k, v in load_file(weights).items() if "classifier" not in k}, weights, {"format": "pt"})


BAD = {
    "no config": "holds no config.json",
    "no weights": "holds no weights, model.safetensors or",
    "pickle": "pytorch_model.bin may hold pickled objects, which can run code, and is not read",
    "truncated": "Cannot read the weights in the folder",
    "config": "Cannot read the configuration in the folder",
    "kind": "Cannot read the configuration in the folder",
    "code": "Cannot read the configuration in the folder",
    "no head": "2 are missing, first 'classifier.bias'",
}


@pytest.mark.parametrize("case", BAD)
def test_folders_that_are_refused(case, bert, monkeypatch):
    monkeypatch.chdir(bert.parent)
    spoil(bert, case)
    with pytest.raises(FileError, match=BAD[case]):
        load_model(f"hf:{bert}")


def test_names_are_looked_for_on_this_machine_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CaptureError, match="There is no folder 'nobody/nothing', and no model .* pass --download"):
        load_model("hf:nobody/nothing")
    with pytest.raises(CaptureError, match="comes with its own weights"):
        load_model("hf:nobody/nothing", weights=tmp_path / "w.safetensors")
    with pytest.raises(CaptureError, match="Unknown model 'hf:'"):
        load_model("hf:")


def test_what_may_be_downloaded_is_asked_for(monkeypatch):
    asked = []

    def given(name, **options):
        asked.append(options)
        raise OSError("no network\nat all")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", given)
    with pytest.raises(CaptureError, match=r"Cannot download the configuration of 'a/b': no network$"):
        load_model("hf:a/b", download=True)
    with pytest.raises(CaptureError, match="pass --download"):
        load_model("hf:a/b")
    assert [one["local_files_only"] for one in asked] == [False, True]
    assert not any(one["trust_remote_code"] for one in asked)


def test_a_folder_without_a_tokenizer(tmp_path):
    classifier(tmp_path)
    with pytest.raises(FileError, match=r"holds no tokenizer \(tokenizer.json"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(FileError, match="Cannot read the tokenizer in the folder"):
        load_tokenizer(str(tmp_path))


def test_without_transformers(bert, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    for load in (load_model, lambda spec: load_tokenizer(spec.removeprefix("hf:"))):
        with pytest.raises(MissingExtra, match=r"Reading models of Hugging Face needs transformers.*biasprop\[text\]"):
            load(f"hf:{bert}")


@pytest.fixture
def how(bert):
    model = load_model(f"hf:{bert}")
    return Preparation(encoder=Encoder(load_tokenizer(str(bert)), model))


def test_texts_are_padded_on_the_right_and_masked(how):
    how.encoder.tokenizer.padding_side = "left"
    items = list(text_items(["the film was good", "good"], how))
    assert [len(item.x) for item in items] == [6, 3]
    (batch,) = batches(items, 4, how.encoder.pads)
    made = how.encoder.batch([item.text for item in batch])
    assert made["input_ids"][1].tolist() == [2, 11, 3, 0, 0, 0]
    assert made["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    assert [len(one) for one in batches(items, 4)] == [1, 1]
    how.encoder.tokenizer.pad_token = None
    assert not how.encoder.pads
    assert how.encoder.batch(["good"])["input_ids"].shape == (1, 3)


def test_the_longest_text(how):
    assert how.encoder.longest == 24
    assert Encoder(how.encoder.tokenizer).longest == 24
    how.encoder.tokenizer.model_max_length = 10**30
    assert Encoder(how.encoder.tokenizer).longest is None or Encoder(how.encoder.tokenizer).longest >= 10**30
    sizes = {"vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
    for kind, positions, longest in (("GPT2", 7, 7), ("Roberta", 7, 5), ("Bert", 7, 7)):
        config = getattr(transformers, f"{kind}Config")(**sizes, max_position_embeddings=positions, pad_token_id=1)
        assert Encoder(how.encoder.tokenizer, getattr(transformers, f"{kind}Model")(config)).longest == longest
    how.encoder.tokenizer.model_max_length = 24
    for text, message in (("good " * 23, "has 25 tokens, and the model takes 24 at most"), ("\n", "is an empty text")):
        with pytest.raises(InputError, match=f"Text 0 {message}"):
            list(text_items([text], how))


def test_files_of_texts(how, tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("good\r\n\r\n the film \n", newline="")
    assert [(item.name, item.text) for item in read([path], how)] == [("t_0", "good"), ("t_1", "the film")]
    with pytest.raises(BiaspropError, match="text 0 is a text, and there is no tokenizer"):
        list(read([path], Preparation()))
