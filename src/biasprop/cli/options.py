"""Options that several commands share, and what they mean."""

from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

from .inputs import Preparation

__all__ = [
    "BatchSize",
    "ClassNames",
    "Crop",
    "Device",
    "Drop",
    "Grey",
    "Inputs",
    "Key",
    "Mean",
    "Model",
    "Resize",
    "Rows",
    "Std",
    "Weights",
    "preparation",
]

Inputs = Annotated[list[Path], Argument(help="Images or folders of images, .npy/.npz arrays, .csv/.parquet tables.")]
Model = Annotated[
    str, Option(help="torchvision:NAME, timm:NAME, package.module:factory, or a torch.export file net.pt2.")
]
Weights = Annotated[Path | None, Option(help=".safetensors, or .pt/.pth that hold a state dict.")]
ClassNames = Annotated[Path | None, Option(help="Class names, one a line ('id name' finds labels in file names).")]
Resize = Annotated[int, Option(help="Images: short side after resizing; 0 leaves them.", min=0)]
Crop = Annotated[int, Option(help="Images: side of the centre crop; 0 leaves them.", min=0)]
Mean = Annotated[str, Option(help="Images: mean per channel, subtracted.")]
Std = Annotated[str, Option(help="Images: standard deviation per channel.")]
Grey = Annotated[bool, Option("--grey", help="Images: read as one channel.")]
Key = Annotated[str | None, Option(help="Arrays: which array of an .npz file.")]
Rows = Annotated[str, Option(help="Arrays and tables: which rows, e.g. 0:10 or 5.")]
Drop = Annotated[list[str] | None, Option(help="Tables: leave out this column (repeat for more).")]
BatchSize = Annotated[int, Option(help="Inputs taken at once.", min=1)]
Device = Annotated[str, Option(help="cpu, cuda, cuda:1, mps, ...")]


def preparation(
    resize: int,
    crop: int,
    mean: str,
    std: str,
    grey: bool,
    key: str | None,
    rows: str,
    drop: list[str] | None,
    labels: str | None = None,
) -> Preparation:
    """How inputs are to be read, from the options."""
    return Preparation(
        resize,
        crop,
        _numbers("--mean", mean),
        _numbers("--std", std),
        key,
        _slice(rows),
        tuple(drop or ()),
        grey,
        labels,
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
