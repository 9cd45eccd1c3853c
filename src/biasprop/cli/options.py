"""Options that several commands share, and what they mean."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from torch import nn
from typer import Argument, BadParameter, Option

from ..loading import (
    HF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Encoder,
    Preparation,
    files_of_model,
    load_model,
    load_tokenizer,
    model_file,
)

__all__ = [
    "BatchSize",
    "ClassNames",
    "Device",
    "Inputs",
    "InputsOrTexts",
    "Mode",
    "ModelOptions",
    "ReadingOptions",
    "Texts",
]

INPUTS = "Images or folders of images, .npy/.npz arrays, .csv/.parquet tables"

Inputs = Annotated[list[Path], Argument(help=f"{INPUTS}.")]
InputsOrTexts = Annotated[list[Path] | None, Argument(help=f"{INPUTS}, .txt files with a text a line.")]
Texts = Annotated[list[str] | None, Option("--text", help="A text to explain (repeat for more); with --model hf:...")]
Mode = Annotated[str, Option(help="The linear model of smooth operations: frozen, tangent (the gradient) or half.")]
ClassNames = Annotated[Path | None, Option(help="Class names, one a line ('id name' finds labels in file names).")]
BatchSize = Annotated[int, Option(help="Inputs taken at once.", min=1)]
Device = Annotated[str, Option(help="cpu, cuda, cuda:1, mps, ...")]


@dataclass(frozen=True)
class ModelOptions:
    """Which network."""

    model: Annotated[
        str,
        Option(
            help="torchvision:NAME, timm:NAME, hf:FOLDER (transformers), package.module:factory, a file net.onnx, or "
            "(--trust) net.pt2."
        ),
    ]
    weights: Annotated[Path | None, Option(help=".safetensors, or .pt/.pth that hold a state dict.")] = None
    trust: Annotated[
        bool,
        Option("--trust", help="Load a .pt2 file, which is a program and can run code: trust its source."),
    ] = False
    download: Annotated[bool, Option("--download", help="Get a model that hf: names from the Hugging Face hub.")] = (
        False
    )

    @property
    def files(self) -> list[Path | None]:
        """What is read of the network."""
        return [model_file(self.model), self.weights, *files_of_model(self.model)]

    def load(self, device: str = "cpu") -> nn.Module:
        """The network in eval mode. See `biasprop.loading.load_model`."""
        return load_model(self.model, self.weights, device, self.trust, self.download)

    @property
    def is_hf(self) -> bool:
        """Whether the network is of transformers."""
        return self.model.startswith(HF)

    def encoder(self, model: nn.Module) -> Encoder | None:
        """What makes token ids of texts for the network; None where it is not of that kind."""
        if not self.is_hf:
            return None
        tokenizer = load_tokenizer(self.model.removeprefix(HF), self.download)
        return Encoder(tokenizer, model)


@dataclass(frozen=True)
class ReadingOptions:
    """How inputs are read."""

    resize: Annotated[int, Option(help="Images: short side after resizing; 0 leaves them.", min=0)] = 256
    crop: Annotated[int, Option(help="Images: side of the centre crop; 0 leaves them.", min=0)] = 224
    mean: Annotated[str, Option(help="Images: mean per channel, subtracted.")] = ",".join(map(str, IMAGENET_MEAN))
    std: Annotated[str, Option(help="Images: standard deviation per channel.")] = ",".join(map(str, IMAGENET_STD))
    grey: Annotated[bool, Option("--grey", help="Images: read as one channel.")] = False
    key: Annotated[str | None, Option(help="Arrays: which array of an .npz file.")] = None
    rows: Annotated[str, Option(help="Arrays and tables: which rows, e.g. 0:10 or 5.")] = ":"
    drop: Annotated[list[str] | None, Option(help="Tables: leave out this column (repeat for more).")] = None

    def preparation(self, labels: str | None = None) -> Preparation:
        """What the options mean; ``labels`` names an array or column of labels.

        Raises:
            BadParameter: an option is no number, or no range of rows.
        """
        return Preparation(
            resize=self.resize,
            crop=self.crop,
            mean=_numbers("--mean", self.mean),
            std=_numbers("--std", self.std),
            key=self.key,
            rows=_slice(self.rows),
            drop=tuple(self.drop or ()),
            grey=self.grey,
            labels=labels,
        )


def _slice(text: str) -> slice:
    try:
        parts = [int(part) if part else None for part in text.split(":")]
        if len(parts) == 1 and parts[0] is not None:
            return slice(parts[0], parts[0] + 1 or None)
        if 2 <= len(parts) <= 3 and 0 not in parts[2:]:
            return slice(*parts)
    except ValueError:
        pass
    raise BadParameter(f"--rows must look like 0:10 or 5, not {text!r}")


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise BadParameter(f"{name} must be numbers separated by commas, not {text!r}") from error
