"""Small models of transformers with their tokenizers, as folders that the tests write: nothing is downloaded."""

from pathlib import Path

import torch
from helpers import randomise

VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("the", "film", "was", "un", "##believ", "##able", "good", "not", "but", ",", ".", "a", "dull", "long", "story"),
]
WORDS = ("the film was unbelievably good", "not a café in the story", "a dull film\nbut a long one")


def wordpiece(folder: Path):
    """A tokenizer of BERT's kind."""
    from transformers import BertTokenizer

    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), model_max_length=24)
    tokenizer.save_pretrained(folder)
    return tokenizer


def byte_level(folder: Path):
    """A tokenizer of GPT-2's kind, without a token for padding."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<|end|>"])
    trainer.show_progress = False
    made.train_from_iterator(WORDS * 9, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>")
    tokenizer.save_pretrained(folder)
    return tokenizer


def classifier(folder: Path):
    """A BERT with two classes."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
        id2label={0: "BAD", 1: "GOOD"},
        label2id={"BAD": 0, "GOOD": 1},
    )
    return _written(BertForSequenceClassification(config), folder)


def encoder(folder: Path):
    """A BERT without a head."""
    from transformers import BertModel

    return _written(BertModel(classifier(folder).config), folder)


def continuation(folder: Path, tokenizer):
    """A GPT-2 that continues texts."""
    from transformers import GPT2Config, GPT2LMHeadModel

    size = len(tokenizer)
    config = GPT2Config(vocab_size=size, n_embd=16, n_layer=1, n_head=2, n_positions=24, bos_token_id=0, eos_token_id=0)
    return _written(GPT2LMHeadModel(config), folder)


def image_classifier(folder: Path):
    """A vision transformer for images of 3 x 16 x 16 and three classes."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=16,
        patch_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        num_labels=3,
    )
    return _written(ViTForImageClassification(config), folder)


def _written(model: torch.nn.Module, folder: Path):
    """Not so near to zero as they begin, so that words differ."""
    model = randomise(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(10)
    model.save_pretrained(folder)
    return model
