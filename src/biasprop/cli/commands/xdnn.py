"""``biasprop xdnn check`` and ``biasprop xdnn convert``: is a network without bias, and a copy that is."""

import math
import warnings
from pathlib import Path
from typing import Annotated

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from typer import Argument, BadParameter, Exit, Option, Typer

from ...errors import CaptureError, InputError
from ...files import write_atomically
from ...homogeneous import homogeneity, remove_bias
from ...loading import LARGEST
from ..groups import with_groups
from ..options import ModelOptions
from ..outputs import Sources
from ..screen import say

__all__ = ["check", "convert", "register"]

Shape = Annotated[str, Option(help="Shape of one input, e.g. 3,224,224 or 18; it is drawn at random.")]


def register(app: Typer) -> None:
    """Add the subcommand, which has two of its own."""
    xdnn = Typer(help="Networks without a bias: check that it is gone, or make a copy without.", no_args_is_help=True)
    xdnn.command(epilog="Example: biasprop xdnn check --model mypackage:net --shape 3,32,32")(check)
    xdnn.command(epilog="Example: biasprop xdnn convert free.safetensors --model torchvision:resnet18")(convert)
    app.add_typer(xdnn, name="xdnn")


@with_groups
def check(network: ModelOptions, shape: Shape = "3,224,224") -> None:
    """Whether the network is nonnegatively homogeneous, F(a x) = a^k F(x), and what breaks it.

    Exit status 0: homogeneous; 1: not; 2: an error.
    """
    x = _example(shape)
    report = homogeneity(network.load(), x)
    say(report)
    if not report.homogeneous:
        raise Exit(1)


@with_groups
def convert(
    output: Annotated[Path, Argument(help="Where to write: net.pt2 (the network) or net.safetensors (its weights).")],
    network: ModelOptions,
    shape: Shape = "3,224,224",
) -> None:
    """Write a copy of the network without additive constants; a warm start, to be trained further.

    To read the .pt2 file back takes --trust, as with any: it is a program.
    """
    if output.suffix not in (".pt2", ".safetensors"):
        raise InputError(f"{output} must end in .pt2 (the network) or .safetensors (its weights).")
    x = _example(shape)
    Sources(network.files).refuse(output)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        made = remove_bias(network.load(), x)
    for warning in {str(w.message): None for w in caught if "bias" in str(w.message) or "Left" in str(w.message)}:
        say(warning)
    write_atomically(output, lambda temporary: _write(made, x, Path(temporary), output.suffix))
    say(f"{output}: {homogeneity(made, x)}")
    say("It is another function than the trained network: train it further before you use it.")


def _write(model: nn.Module, x: Tensor, path: Path, suffix: str) -> None:
    if suffix == ".safetensors":
        save_file({name: t.contiguous().clone() for name, t in model.state_dict().items()}, path)
        return
    batch = torch.export.Dim("batch", min=1)
    try:
        try:
            program = torch.export.export(model, (torch.cat([x, x]),), dynamic_shapes=({0: batch},))
        except Exception:  # a model whose forward fixes its batch
            program = torch.export.export(model, (x,))
        with path.open("wb") as file:
            torch.export.save(program, file)
    except Exception as error:
        raise CaptureError(f"torch.export cannot write this model: {str(error).splitlines()[0]}") from error


def _example(shape: str) -> Tensor:
    try:
        sizes = [int(size) for size in shape.split(",")]
        if min(sizes) < 1 or math.prod(sizes) > LARGEST:
            raise ValueError
    except ValueError:
        raise BadParameter(
            f"--shape must be positive numbers such as 3,224,224, {LARGEST} in all at most, not {shape!r}."
        ) from None
    return torch.randn(1, *sizes, generator=torch.Generator().manual_seed(0))
