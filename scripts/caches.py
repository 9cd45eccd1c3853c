"""Lay the trained network of ``BIASPROP_DATA`` where torchvision looks for what it has downloaded.

The tutorials say ``squeezenet1_1(weights="DEFAULT")``, as a user does. Where nothing can be downloaded::

    BIASPROP_DATA=DATA python scripts/caches.py .cache/torch
    TORCH_HOME=.cache/torch make docs

Without ``BIASPROP_DATA`` nothing is written, and torchvision downloads the weights.
"""

import os
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torchvision.models import SqueezeNet1_1_Weights

from biasprop.files import write_atomically

__all__ = ["main"]


def main(home: Path) -> None:
    """Fill the folder that ``TORCH_HOME`` will name.

    Raises:
        SystemExit: ``BIASPROP_DATA`` does not hold the network.
    """
    data = os.environ.get("BIASPROP_DATA")
    if not data:
        print("BIASPROP_DATA is not set: torchvision will download what the tutorials use.")
        return
    source = Path(data) / "squeezenet1_1.safetensors"
    if not source.is_file():
        raise SystemExit(f"{source} is not there: BIASPROP_DATA must name the folder with the trained networks.")
    name = SqueezeNet1_1_Weights.DEFAULT.url.rpartition("/")[2]
    target = home / "hub" / "checkpoints" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    state = load_file(source)
    write_atomically(target, lambda file: torch.save(state, file))
    print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
