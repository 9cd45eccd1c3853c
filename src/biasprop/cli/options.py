"""Options that several commands share, and what they mean."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from torch import nn
from typer import Argument, BadParameter, Option

from ..loading import IMAGENET_MEAN, IMAGENET_STD, Preparation, load_model, model_file

__all__ = ["BatchSize", "ClassNames", "Device", "Inputs", "ModelOptions", "ReadingOptions"]

Inputs = Annotated[list[Path], Argument(help="Images or folders of images, .npy/.npz arrays, .csv/.parquet tables.")]
ClassNames = Annotated[Path | None, Option(help="Class names, one a line ('id name' finds labels in file names).")]
BatchSize = Annotated[int, Option(help="Inputs taken at once.", min=1)]
Device = Annotated[str, Option(help="cpu, cuda, cuda:1, mps, ...")]


@dataclass(frozen=True)
class ModelOptions:
    """Which network."""

    model: Annotated[
        str, Option(help="torchvision:NAME, timm:NAME, package.module:factory, a file net.onnx, or (--trust) net.pt2.")
    ]
    weights: Annotated[Path | None, Option(help=".safetensors, or .pt/.pth that hold a state dict.")] = None
    trust: Annotated[
        bool,
        Option("--trust", help="Load a .pt2 file, which is a program and can run code: trust its source."),
    ] = False

    @property
    def files(self) -> list[Path | None]:
        """What is read of the network."""
        return [model_file(self.model), self.weights]

    def load(self, device: str = "cpu") -> nn.Module:
        """The network in eval mode. See `biasprop.loading.load_model`."""
        return load_model(self.model, self.weights, device, self.trust)


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
