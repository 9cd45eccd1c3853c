"""What is examined: a network, its test data as it sees them, and how it came to be."""

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.datasets.folder import IMG_EXTENSIONS, default_loader
from torchvision.transforms import v2

import biasprop
from biasprop.loading import IMAGENET_MEAN, IMAGENET_STD, load_model

from .data import DATA, read
from .training import Training, trained

__all__ = [
    "CIFAR",
    "CIFAR_VIT",
    "FASHION",
    "FASHION_VIT",
    "MNIST",
    "PLAIN_CIFAR",
    "PLAIN_FASHION",
    "RESNET20",
    "SQUEEZENET",
    "STL",
    "Checkpoint",
    "Pair",
    "Source",
    "Subject",
    "of_checkpoint",
    "of_training",
    "without_bias",
]

MNIST = Training("mnist", "deeplift", epochs=10, decay=1e-4, centring="black")
FASHION = Training("fashion_mnist", "vgg11", norm=True, epochs=8, rate=0.1, crop=2, flip=True)
CIFAR = Training("cifar10", "vgg11", norm=True, epochs=8, rate=0.1, crop=4, flip=True)
PLAIN_FASHION = Training("fashion_mnist", "vgg11", epochs=20, crop=2, flip=True)
PLAIN_CIFAR = Training("cifar10", "vgg11", epochs=20, crop=4, flip=True)
STL = Training("cifar10", "stl", epochs=15, crop=4, flip=True)
FASHION_VIT = Training("fashion_mnist", "vit", epochs=2, rate=2e-3, decay=0.05, crop=2, flip=True)


def without_bias(training: Training) -> Training:
    """The same training of a network that never has a bias."""
    return replace(training, bias=False)


@dataclass(frozen=True)
class Checkpoint:
    """A trained network from elsewhere and labelled images for it; paths are below the data folder.

    Attributes:
        model: as on biasprop's command line: ``torchvision:alexnet``, ``timm:...``, ``package.module:factory``.
        weights: a file of weights; None downloads those of torchvision or timm.
        layer: the last module that is laid out like the image, for Grad-CAM.
        images: a folder, of sub-folders or files named after the id of the class; or ``file.npz:x:y``, uint8 images
            ``(N, H, W, C)`` and labels.
        classes: a file of ``id name`` lines in index order.
        resize: short side, images in files only.
        crop: side of the centre crop, images in files only.
        mean: subtracted from pixels in 0 to 1.
        std: then divided by.
    """

    model: str
    weights: str | None = None
    layer: str = ""
    images: str = "imagenet"
    classes: str | None = "imagenet_classes.txt"
    resize: int = 256
    crop: int = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


Source = Training | Checkpoint
Pair = tuple[Source, Source | None]
"""A network, and one without biases; None: the same training without."""

SQUEEZENET = Checkpoint("torchvision:squeezenet1_1", "squeezenet1_1.safetensors", "features.12")
RESNET20 = Checkpoint(
    "examples.resnet20:resnet20",
    "cifar10_resnet20.safetensors",
    "layer3",
    images="cifar10_lossless_subset.npz:x_test100:y_test100",
    classes=None,
)
CIFAR_VIT = Checkpoint(
    "experiments.vit:cifar_transformer",
    "cifar10_vit.safetensors",
    images="cifar10_lossless_subset.npz:x_test100:y_test100",
    classes=None,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
)


@dataclass(frozen=True, eq=False)
class Subject:
    """A network in eval mode, and the test data ``(x, labels)`` as it sees them: ``x = (pixels - mean) / std``.

    ``key``: differs between any two. ``shareable``: the terms of the images allow to pass on a picture that shows some.
    ``layer``: the last module that is laid out like the image; empty where there is none.
    """

    title: str
    key: str
    model: nn.Module
    data: Dataset[Any]
    references: Tensor
    classes: tuple[str, ...]
    mean: Tensor
    std: Tensor
    origin: str
    shareable: bool = False
    layer: str = ""

    def __len__(self) -> int:
        return len(self.data)  # type: ignore[arg-type]

    @cached_property
    def scorer(self) -> nn.Module:
        """The same network for forward passes alone, channels last: twice as fast on photos, on a CPU."""
        return copy.deepcopy(self.model).to(memory_format=torch.channels_last)

    @property
    def slug(self) -> str:
        """For file names."""
        return "_".join(re.findall(r"\w+", self.title)).lower()

    def loader(self, batch: int, count: int | None = None, spread: bool = False) -> Iterable[tuple[Tensor, Tensor]]:
        """Batches, in a fixed order: all, the first ``count``, or ``count`` from everywhere (``spread``)."""
        data = self.data
        if count is not None and count < len(self):
            step = len(self) // count if spread else 1
            data = torch.utils.data.Subset(data, range(0, count * step, step))
        return DataLoader(data, batch)

    def first(self, count: int, spread: bool = False) -> tuple[Tensor, Tensor]:
        """The first ``count`` examples (or from everywhere) as tensors."""
        batches = list(islice(self.loader(count, count, spread), 1))
        x, labels = batches[0]
        return x, labels

    def pixels(self, x: Tensor) -> Tensor:
        """From what the network sees to 0 to 1."""
        return x * self.std[:, None, None] + self.mean[:, None, None]

    @property
    def black(self) -> Tensor:
        """A black pixel as the network sees it, ``(1, C, 1, 1)``."""
        return (-self.mean / self.std)[None, :, None, None]

    def name(self, index: int) -> str:
        """Of a class."""
        return self.classes[index] if index < len(self.classes) else str(index)


CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAREABLE = ("mnist", "fashion_mnist")  # CC BY-SA 3.0, MIT
NAMES = {
    "vgg11": "VGG-11",
    "stl": "STL-10 network",
    "deeplift": "DeepLIFT's network",
    "vit": "small ViT",
    SQUEEZENET: "SqueezeNet 1.1, ImageNet",
    RESNET20: "ResNet-20, CIFAR-10",
    CIFAR_VIT: "ViT, CIFAR-10",
}


def of_training(training: Training, runs: Path) -> Subject:
    """A network that is trained here, now if there is no result of it yet."""
    data = read(training.data)
    mean, std = data.centre(training.centring)
    x = data.normalised(data.test.images, training.centring)
    bias = "" if training.bias else ", without bias"
    if training.network == "vgg11" and not training.norm:
        bias = " without batch norm" + (" and bias" if not training.bias else "")
    model = trained(training, runs)
    flat = next((i for i, module in enumerate(model) if isinstance(module, nn.Flatten)), 0)
    last = max((i for i in range(flat) if isinstance(model[i], nn.ReLU)), default=0)
    return Subject(
        f"{NAMES[training.network]}{bias}, {data.name}",
        training.name,
        model,
        TensorDataset(x, data.test.labels),
        data.normalised(data.train.images[:1000], training.centring),
        data.classes,
        mean,
        std,
        training.describe(),
        training.data in SHAREABLE,
        str(last),
    )


def of_checkpoint(checkpoint: Checkpoint) -> Subject:
    """A network trained elsewhere."""
    weights = None if checkpoint.weights is None else DATA / checkpoint.weights
    model = load_model(checkpoint.model, weights)
    classes, ids = _classes(checkpoint.classes)
    if checkpoint.classes is None and checkpoint.images.startswith("cifar10"):
        classes = CIFAR_CLASSES
    data: Dataset[Any]
    if ".npz:" in checkpoint.images:
        file, x, y = checkpoint.images.split(":")
        with np.load(DATA / file, allow_pickle=False) as arrays:
            images, labels = torch.from_numpy(arrays[x]), torch.from_numpy(arrays[y]).long()
        prepared = v2.Normalize(checkpoint.mean, checkpoint.std)(images.permute(0, 3, 1, 2).float() / 255)
        data = TensorDataset(prepared, labels)
    else:
        data = _Files(DATA / checkpoint.images, ids, checkpoint)
    mean, std = torch.tensor(checkpoint.mean), torch.tensor(checkpoint.std)
    references, _ = next(iter(DataLoader(data, 100)))
    title = NAMES.get(checkpoint, checkpoint.model.rpartition(":")[2])
    origin = f"{checkpoint.weights or 'pretrained'}, on {checkpoint.images}"
    key = repr(checkpoint)
    return Subject(title, key, model, data, references, classes, mean, std, origin, layer=checkpoint.layer)


def _classes(file: str | None) -> tuple[tuple[str, ...], dict[str, int]]:
    if file is None:
        return (), {}
    lines = [line.split(maxsplit=1) for line in (DATA / file).read_text(encoding="utf-8").splitlines()]
    return tuple(name.split(",")[0] for _, name in lines), {wnid: i for i, (wnid, _) in enumerate(lines)}


class _Files(Dataset[tuple[Tensor, Tensor]]):
    """Image files of which the folder, or the first part of the name, is the id of their class."""

    def __init__(self, folder: Path, ids: dict[str, int], how: Checkpoint) -> None:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMG_EXTENSIONS) if folder.is_dir() else []
        found = [(p, ids.get(p.parent.name, ids.get(p.stem.split("_")[0]))) for p in files]
        self.files = [(path, label) for path, label in found if label is not None]
        if not self.files:
            raise biasprop.InputError(f"There is no image of a known class in {folder}.")
        self.prepare = v2.Compose(
            [
                v2.Resize(how.resize),
                v2.CenterCrop(how.crop),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(list(how.mean), list(how.std)),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        path, label = self.files[i]
        return self.prepare(default_loader(str(path))), torch.tensor(label)
