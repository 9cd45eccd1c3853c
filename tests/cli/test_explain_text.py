"""``biasprop explain --text``: texts in, coloured words and numbers out; what does not fit is said."""

import json

import pytest
import torch
from folders import byte_level, classifier, continuation, encoder, wordpiece
from PIL import Image
from toys import TABLE

import biasprop
from biasprop.cli.options import ModelOptions

pytest.importorskip("transformers")

TEXTS = ("The film was unbelievable.", "good", "a long, dull story")


@pytest.fixture
def bert(folder):
    """A folder ``bert``; the current folder of the test is the one above it."""
    wordpiece(folder / "bert")
    return classifier(folder / "bert")


def spelled(tokenizer):
    """Every token, as a text would have it."""
    return [token for one in tokenizer.get_vocab() for token in (one, tokenizer.convert_tokens_to_string([one]))]


def rows(folder):
    return json.loads((folder / "out" / "summary.json").read_text())["inputs"]


def test_texts_of_several_lengths(folder, bert, run):
    given = [part for text in TEXTS for part in ("--text", text)]
    status, out, err = run("explain", *given, "--model", "hf:bert", "--save", "-o", "out")
    assert status == 0, err
    assert "3 predictions explained" in out
    assert "text_1: " in out
    found = rows(folder)
    assert [row["name"] for row in found] == ["text_0", "text_1", "text_2"]
    assert [row["text"] for row in found] == list(TEXTS)
    assert {row["target"] for row in found} <= {"GOOD", "BAD"}
    assert [word["word"] for word in found[0]["words"]] == ["[CLS]", "the", "film", "was", "unbelievable", ".", "[SEP]"]
    for row in found:
        total = sum(word["weight"] + word["bias"] for word in row["words"]) + row["unattributed"]
        assert total == pytest.approx(row["output"], rel=1e-4)
        with Image.open(folder / "out" / f"{row['name']}.png") as picture:
            assert min(picture.size) > 500
    tokenizer = wordpiece(folder / "bert")
    alone = biasprop.explain(bert, tokenizer(TEXTS[1], return_tensors="pt"))
    assert found[1]["output"] == pytest.approx(alone.output.item(), rel=1e-4)
    expected = alone.tokens.words(tokenizer)[0].weight_attribution
    torch.testing.assert_close(torch.tensor([w["weight"] for w in found[1]["words"]]), expected, rtol=1e-3, atol=1e-5)
    loaded = biasprop.load(folder / "out" / "text_0.safetensors")
    assert loaded.linearization == "frozen"
    assert loaded.tokens.ids.shape == loaded.tokens.attribution.shape


def test_a_file_of_texts_a_target_and_a_linearization(folder, bert, run):
    (folder / "reviews.txt").write_text("\ufeff" + "\n\n".join(TEXTS) + "\n")
    answers = []
    for mode in ("frozen", "tangent"):
        options = ("--target", 1, "--linearization", mode, "--rows", "1:3", "--pictures", 0, "-o", "out")
        status, _, err = run("explain", "reviews.txt", "--model", "hf:bert", *options)
        assert status == 0, err
        answers.append(rows(folder))
    assert [row["name"] for row in answers[0]] == ["reviews_1", "reviews_2"]
    assert {row["target"] for row in answers[0]} == {"GOOD"}
    assert answers[0][0]["output"] == pytest.approx(answers[1][0]["output"], rel=1e-5)
    assert answers[0][0]["words"] != answers[1][0]["words"]


def test_a_model_that_continues_texts(folder, run):
    tokenizer = byte_level(folder / "gpt")
    continuation(folder / "gpt", tokenizer)
    status, out, err = run(
        "explain", "--text", "the film was", "--text", "a café\n in", "--model", "hf:gpt", "-o", "out"
    )
    assert status == 0, err
    assert "2 predictions explained" in out
    found = rows(folder)
    assert {row["target"] for row in found} <= {t.strip() or t for t in spelled(tokenizer)}
    assert [word["word"] for word in found[1]["words"]] == ["a", "café", "Ċ", "in"]


def test_escapes_are_shown(folder, run):
    wordpiece(folder / "bert")
    classifier(folder / "bert")
    text = (folder / "bert" / "tokenizer.json").read_text()
    (folder / "bert" / "tokenizer.json").write_text(text.replace('"story"', json.dumps("\x1b[2jgone")))
    config = json.loads((folder / "bert" / "config.json").read_text())
    config["id2label"] = {"0": "\x1b[31mred", "1": "\x1b[31mred"}
    (folder / "bert" / "config.json").write_text(json.dumps(config))
    status, out, err = run("explain", "--text", "a story gone", "--model", "hf:bert", "-o", "out")
    assert status == 0, err
    assert "\x1b" not in out
    assert "\\x1b[31mred" in out


def test_a_model_without_a_head(folder, run):
    wordpiece(folder / "base")
    encoder(folder / "base")
    status, _, err = run("explain", "--text", "good", "--model", "hf:base", "-o", "out")
    assert status == 2
    assert "BertModel returns last_hidden_state, pooler_output and no logits" in err
    assert "such as BertForSequenceClassification" in err


BAD = {
    "nothing": (["--model", "hf:bert"], "give files, or --text"),
    "empty": (["--text", " ", "--model", "hf:bert"], "Text 0 is an empty text"),
    "long": (
        ["--text", "good", "--text", "good " * 30, "--model", "hf:bert"],
        "Text 1 has 32 tokens, and the model takes 24",
    ),
    "no tokenizer": (["--text", "good", *TABLE], "there is no tokenizer that reads it"),
    "text file": (["classes.txt", *TABLE], "classes.txt, text 0 is a text, and there is no tokenizer"),
    "empty file": (["empty.txt", "--model", "hf:bert"], "empty.txt holds no text"),
    "no text": (["bytes.txt", "--model", "hf:bert"], "Cannot read the texts in bytes.txt"),
    "no file": (["none.txt", "--model", "hf:bert"], "no file or folder none.txt"),
    "no folder": (["--text", "good", "--model", "hf:nobody/nothing"], "There is no folder 'nobody/nothing'"),
    "mode": (["--text", "good", "--model", "hf:bert", "--linearization", "thawed"], "linearization must be one of"),
    "target": (["--text", "good", "--model", "hf:bert", "--target", 5], "out of range"),
    "weights": (["--text", "good", "--model", "hf:bert", "--weights", "net.safetensors"], "its own weights"),
    "vocabulary": (["--text", "a long story", "--model", "hf:small"], "outside of the vocabulary"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_one_message(case, folder, bert, run):
    (folder / "empty.txt").write_text("\n \n")
    (folder / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    if case == "vocabulary":
        wordpiece(folder / "small")
        bert.resize_token_embeddings(15)
        bert.save_pretrained(folder / "small")
    arguments, message = BAD[case]
    status, out, err = run("explain", *arguments, "-o", "out")
    assert status == 2
    assert message in " ".join(err.replace("│", " ").split()), err
    assert "Traceback" not in out + err


def test_the_files_of_the_model_are_among_those_that_are_not_overwritten(bert):
    assert {"config.json", "model.safetensors"} <= {path.name for path in ModelOptions("hf:bert").files if path}


def test_audit_with_a_linearization(folder, run):
    (folder / "labelled.csv").write_text("age,weight,height,died\n30,70,1.8,1\n40,65,1.6,0\n")
    options = ("--labels", "died", *TABLE, "-o", "out", "--linearization")
    status, _, err = run("audit", "labelled.csv", *options, "tangent")
    assert status == 0, err
    status, _, err = run("audit", "labelled.csv", *options, "thawed")
    assert status == 2
    assert "linearization must be one of" in err
    status, _, err = run("audit", "classes.txt", *TABLE, "-o", "out2")
    assert status == 2
    assert "'biasprop explain' takes texts" in err
