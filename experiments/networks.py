"""The networks of the papers, at the sizes of the data that exist here; each with biases or without."""

from collections.abc import Callable

from torch import Tensor, nn

import biasprop
from biasprop import InputError

from .vit import vision_transformer

__all__ = ["NETWORKS", "build"]


def _convolution(
    channels: int, width: int, size: int, bias: bool, norm: bool, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    """Convolution, batch norm if wanted, ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(channels, width, size, stride, padding, bias=bias and not norm)]
    if norm:
        layers.append(nn.BatchNorm2d(width) if bias else biasprop.UncenteredBatchNorm2d(width))
    return [*layers, nn.ReLU()]


def _vgg11(channels: int, size: int, classes: int, bias: bool, norm: bool) -> nn.Sequential:
    """VGG-11 (Simonyan & Zisserman 2015, configuration A) with one linear layer as its head.

    Pools while there are at least two pixels: five times at 32 pixels, four times at 28.
    """
    layers: list[nn.Module] = []
    for widths in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
        for width in widths:
            layers += _convolution(channels, width, 3, bias, norm, padding=1)
            channels = width
        layers += [nn.MaxPool2d(2)] if size > 1 else []
        size = max(size // 2, 1)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * size * size, classes, bias=bias))


def _stl(channels: int, size: int, classes: int, bias: bool, norm: bool) -> nn.Sequential:
    """The network of the BBp paper for STL-10: convolutions 32-64-64-128-128, pools between, one linear layer."""
    layers: list[nn.Module] = []
    for i, width in enumerate((32, 64, 64, 128, 128)):
        layers += [nn.MaxPool2d(2)] if i else []
        layers += _convolution(channels, width, 3, bias, norm, padding=1)
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * (size // 16) ** 2, classes, bias=bias))


def _deeplift(channels: int, size: int, classes: int, bias: bool, norm: bool) -> nn.Sequential:
    """The network of Shrikumar et al. (2017) for MNIST: 239 594 parameters at 28 pixels."""
    left = ((size - 4) // 2 + 1 - 4) // 2 + 1
    return nn.Sequential(
        *_convolution(channels, 32, 4, bias, norm, stride=2),
        *_convolution(32, 64, 4, bias, norm, stride=2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(64 * left * left, 128, bias=bias),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, classes, bias=bias),
    )


def _vit(channels: int, size: int, classes: int, bias: bool, norm: bool) -> nn.Sequential:
    """A small vision transformer, see `vit`; there is none without biases."""
    if norm or not bias:
        raise InputError("The vision transformer has biases and no batch norm.")
    return vision_transformer(channels, size, classes)


NETWORKS: dict[str, Callable[[int, int, int, bool, bool], nn.Sequential]] = {
    "vgg11": _vgg11,
    "stl": _stl,
    "deeplift": _deeplift,
    "vit": _vit,
}


def build(name: str, images: Tensor, classes: int, bias: bool, norm: bool) -> nn.Sequential:
    """A network for images ``(N, C, H, W)``, with He initialisation (the transformer: that of PyTorch).

    Args:
        name: vgg11, stl, deeplift or vit.
        images: for their channels and size.
        classes: outputs.
        bias: without, no layer adds anything, and batch norm is uncentred: the network is homogeneous.
        norm: batch norm after each convolution.
    """
    model = NETWORKS[name](images.shape[1], images.shape[-1], classes, bias, norm)
    if name == "vit":
        return model
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    head = model[-1]
    assert isinstance(head, nn.Linear)
    nn.init.kaiming_normal_(head.weight, nonlinearity="linear")
    return model
