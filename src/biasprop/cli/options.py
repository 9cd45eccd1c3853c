"""Options that several commands share, and what they mean."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

from torch import nn
from typer import Argument, BadParameter, Option

from ..engines import Engine, Pool
from ..loading import (
    HF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Classes,
    Encoder,
    Preparation,
    files_of_model,
    has_tokenizer,
    load_model,
    load_tokenizer,
    model_file,
    output_names,
    pretrained_classes,
)
from .screen import shown

__all__ = [
    "BatchSize",
    "ClassNames",
    "DataSet",
    "Device",
    "Inputs",
    "InputsOrTexts",
    "KeptOptions",
    "Mode",
    "ModelOptions",
    "PoolOptions",
    "ReadingOptions",
    "Texts",
    "difference_of",
    "target_of",
]

INPUTS = "Images or folders of images, .npy/.npz arrays, .csv/.parquet tables"

Inputs = Annotated[list[Path], Argument(help=f"{INPUTS}.")]
DataSet = Annotated[list[Path], Argument(help=f"{INPUTS}, .txt files, folders of Hugging Face's data sets.")]
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

    def absolute(self) -> "ModelOptions":
        """The same for a process that runs in another folder."""
        file, folder = model_file(self.model), Path(self.model.removeprefix(HF))
        if file is not None:
            spec = os.path.abspath(file)
        else:
            spec = f"{HF}{os.path.abspath(folder)}" if self.is_hf and folder.is_dir() else self.model
        weights = None if self.weights is None else Path(os.path.abspath(self.weights))
        return replace(self, model=spec, weights=weights)

    @property
    def is_hf(self) -> bool:
        """Whether the network is of transformers."""
        return self.model.startswith(HF)

    @property
    def has_tokenizer(self) -> bool:
        """Whether it comes with one; models of images have none."""
        return has_tokenizer(self.model.removeprefix(HF))

    def classes(self, model: nn.Module) -> Classes:
        """What the model itself, or the pretrained weights that it comes with, call its outputs."""
        return Classes(output_names(model) or ([] if self.weights else pretrained_classes(self.model)))

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
    column: Annotated[str | None, Option(help="Tables: the one column to explain, of images, texts or lists.")] = None

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
            column=self.column,
        )


@dataclass(frozen=True)
class KeptOptions:
    """What is drawn and kept of each input."""

    pictures: Annotated[int | None, Option(help="Draw at most so many inputs; default: all.", min=0)] = None
    patch: Annotated[int | None, Option(help="Side of the patches in pixels.", min=1)] = None
    panels: Annotated[
        str | None,
        Option(help="What a picture shows, e.g. input,w,beta,sum; also features (of tables), equation, sources."),
    ] = None
    html: Annotated[bool, Option("--html", help="Also an interactive page of each, with the likeliest classes.")] = (
        False
    )
    save: Annotated[bool, Option("--save", help="Also save each explanation as .safetensors.")] = False

    @property
    def look(self) -> dict[str, Any]:
        """How every picture is drawn."""
        chosen = None if self.panels is None else [name.strip() for name in self.panels.split(",")]
        return {"patch": self.patch, "panels": chosen}


@dataclass(frozen=True)
class PoolOptions:
    """Where the work is done."""

    device: Device = "cpu"
    engine: Annotated[str, Option(help="local (this process) or ray: workers here, or on a cluster (RAY_ADDRESS).")] = (
        "local"
    )
    workers: Annotated[int | None, Option(help="Ray: how many; default one for each CPU, or GPU.", min=1)] = None
    gpus: Annotated[float, Option(help="Ray: GPUs of each worker; may be a fraction.", min=0)] = 0.0

    def pool(self) -> Pool:
        """What the options mean."""
        return Pool(cast(Engine, self.engine), self.workers, self.gpus)

    @property
    def where(self) -> str:
        """The device in a worker."""
        return "cuda" if self.gpus and self.device == "cpu" else self.device


def target_of(text: str, names: Classes, *words: str) -> Any:
    """An output that is named on the command line: one of the words, an index, or the name of a class.

    Raises:
        BadParameter: it is none of these.
    """
    if text in words:
        return text
    try:
        index = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        if names.names:
            return names.index(text)
        said = ", ".join(map(repr, words))
        raise BadParameter(
            f"--target must be {said}, an index such as 3 or 0,1, or with --classes the name of a class; not {text!r}"
        ) from error
    if any(abs(i) >= 2**31 for i in index):
        raise BadParameter(f"--target {shown(text)} is out of range: no network has so many outputs")
    return index[0] if len(index) == 1 else index


def difference_of(text: str, names: Classes) -> Any:
    """``a - b`` of two outputs as a callable target; None where the text is no difference."""
    first, minus, second = text.partition(" - ")
    if not minus:
        return None
    one, other = (target_of(part.strip(), names) for part in (first, second))

    def difference(output: Any) -> Any:
        logits = output["logits"] if isinstance(output, Mapping) else output
        return logits[:, one] - logits[:, other]

    difference.__name__ = text
    return difference


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
