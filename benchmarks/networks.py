"""The networks of ``coverage.py``: a small one of every family of torchvision, timm and transformers, weights random.

Nothing is downloaded. Biases and all other parameters of one dimension are shaken, so that no bias is trivially zero,
and the statistics of batch norms are those of a batch of noise, so that activations keep their size through any depth.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .recipes import LENGTH, TRANSFORMERS

__all__ = ["GROUPS", "Network", "Subject", "build", "leading", "subjects"]

GROUPS = ("torchvision", "timm", "transformers")
SIZES = (64, 84, 96, 112, 128)  # of images, in pixels: the first that a network of timm takes, else its own
CHOICE_SECONDS = 30.0  # to find the smallest network of one family of timm
TOKENS = 7  # of the second example of a text, the rest is padding

Input = Tensor | dict[str, Tensor]


@dataclass(frozen=True)
class Subject:
    """One network to explain."""

    group: str
    family: str
    name: str

    def __str__(self) -> str:
        return f"{self.group}/{self.family}/{self.name}"

    @property
    def settings(self) -> str:
        """What was made smaller than the name says."""
        return ", ".join(f"{k}={v}" for k, v in SHALLOW.get(self.family, {}).items()) if self.group == "timm" else ""

    def matches(self, pattern: str) -> bool:
        """Whether ``--only`` means this one: by its name, its family, or both with the group."""
        return any(fnmatch(one, pattern) for one in (self.name, self.family, str(self)))


@dataclass(frozen=True)
class Network:
    """A network that runs, with what it is explained on.

    Attributes:
        model: in eval mode, float32.
        x: two examples: a float tensor, or a mapping as a tokenizer returns it, padded in the second example.
        target: what ``biasprop.explain`` is asked for.
        about: the target in words.
    """

    model: nn.Module
    x: Input
    target: str | Callable[[Any], Tensor]
    about: str

    @property
    def parameters(self) -> int:
        """How many numbers the network has learnt."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def shapes(self) -> str:
        """Of the input, in words."""
        entries = self.x if isinstance(self.x, dict) else {"": self.x}
        return ", ".join(f"{name} {'x'.join(map(str, x.shape))}".strip() for name, x in entries.items())


def subjects(group: str, folder: Path) -> list[Subject]:
    """All networks of a group; what was found out about timm is kept in the folder."""
    if group == "torchvision":
        return [Subject(group, family, name) for family, (name, _, _) in TORCHVISION.items()]
    if group == "timm":
        return [Subject(group, family, name) for family, name in smallest(folder / "timm.json").items()]
    return [Subject(group, family, recipe.model) for family, recipe in TRANSFORMERS.items()]


def build(subject: Subject) -> Network:
    """The network with its input and target; whatever the network itself raises comes through.

    Raises:
        ValueError: f(x) is not finite.
    """
    torch.manual_seed(0)
    made = {"torchvision": from_torchvision, "timm": from_timm, "transformers": from_transformers}
    model, x = made[subject.group](subject)
    randomise(model)
    calibrate(model, x)
    output = forward(model, x)
    if not leading(output).isfinite().all():
        raise ValueError("f(x) is not finite")
    return Network(model, x, *_target(output, TOKENS - 1 if isinstance(x, dict) else 0))


def forward(model: nn.Module, x: Input) -> Any:
    """What the network gives for x, without gradients."""
    with torch.no_grad():
        return model(**x) if isinstance(x, dict) else model(x)


def leading(output: Any) -> Tensor:
    """The tensor that an output is about: the logits, or the first one."""
    if isinstance(output, Mapping):
        output = output["logits"] if "logits" in output else next(iter(output.values()))
    while isinstance(output, tuple | list):
        output = output[0]
    if not isinstance(output, Tensor):
        raise TypeError(f"the output is a {type(output).__name__}")
    return output


def _target(output: Any, place: int) -> tuple[str | Callable[[Any], Tensor], str]:
    """The predicted class where there are classes, otherwise one number at one place, in words too."""
    found = leading(output)
    if found.dim() == 2 and (isinstance(output, Tensor) or "logits" in output):
        return "predicted", "predicted class"
    index = [place, *(min(7, size - 1) for size in found.shape[2:])]  # 0 may be padding, whose logit may be constant

    def number(output: Any) -> Tensor:
        """One number per example."""
        chosen = leading(output)
        for i in index:
            chosen = chosen.select(1, i)
        return chosen

    return number, f"output[:, {', '.join(map(str, index))}]"


def randomise(model: nn.Module) -> None:
    """Noise on biases and all other parameters of one dimension."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() <= 1 and parameter.is_floating_point():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)


def calibrate(model: nn.Module, x: Input) -> None:
    """The statistics of batch norms taken from noise."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms or isinstance(x, dict):
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    forward(model, torch.randn(8, *x.shape[1:]))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


# torchvision

Made = tuple[nn.Module, Input]
SMALL: dict[str, Any] = {"image_size": 64}
VIDEO = (3, 8, 64, 64)

TORCHVISION: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "AlexNet": ("alexnet", (3, 64, 64), {}),
    "ConvNeXt": ("convnext_tiny", (3, 64, 64), {}),
    "DenseNet": ("densenet121", (3, 64, 64), {}),
    "EfficientNet": ("efficientnet_b0", (3, 64, 64), {}),
    "EfficientNetV2": ("efficientnet_v2_s", (3, 64, 64), {}),
    "GoogLeNet": ("googlenet", (3, 64, 64), {"aux_logits": False, "init_weights": False}),
    "Inception v3": ("inception_v3", (3, 96, 96), {"aux_logits": False, "init_weights": False}),
    "MaxViT": ("maxvit_t", (3, 224, 224), {}),
    "MNASNet": ("mnasnet0_5", (3, 64, 64), {}),
    "MobileNetV2": ("mobilenet_v2", (3, 64, 64), {}),
    "MobileNetV3 small": ("mobilenet_v3_small", (3, 64, 64), {}),
    "MobileNetV3 large": ("mobilenet_v3_large", (3, 64, 64), {}),
    "RegNetX": ("regnet_x_400mf", (3, 64, 64), {}),
    "RegNetY": ("regnet_y_400mf", (3, 64, 64), {}),
    "ResNet": ("resnet18", (3, 64, 64), {}),
    "ResNeXt": ("resnext50_32x4d", (3, 64, 64), {}),
    "Wide ResNet": ("wide_resnet50_2", (3, 64, 64), {}),
    "ShuffleNetV2": ("shufflenet_v2_x0_5", (3, 64, 64), {}),
    "SqueezeNet": ("squeezenet1_1", (3, 64, 64), {}),
    "Swin": ("swin_t", (3, 64, 64), {}),
    "SwinV2": ("swin_v2_t", (3, 64, 64), {}),
    "VGG": ("vgg11", (3, 64, 64), {}),
    "VGG with batch norm": ("vgg11_bn", (3, 64, 64), {}),
    "ViT, patches of 16": ("vit_b_16", (3, 64, 64), SMALL),
    "ViT, patches of 32": ("vit_b_32", (3, 64, 64), SMALL),
    "video: ResNet 3D": ("r3d_18", VIDEO, {}),
    "video: ResNet MC3": ("mc3_18", VIDEO, {}),
    "video: R(2+1)D": ("r2plus1d_18", VIDEO, {}),
    "video: Swin3D": ("swin3d_t", VIDEO, {}),
}


def from_torchvision(subject: Subject) -> Made:
    """The network at the smallest input that it takes, if more than a pixel is to be left of it."""
    name, shape, settings = TORCHVISION[subject.family]
    model = import_module("torchvision.models").get_model(name, weights=None, **settings)
    return model.eval(), torch.randn(2, *shape)


# timm

SHALLOW: dict[str, dict[str, Any]] = {  # families without a small network, made small
    "beit": {"depth": 2},
    "deepseek_vit": {"depth": 2},
    "gemma4_vit": {"depth": 2},
    "naflexvit": {"depth": 2},
    "qwen3_vit": {"depth": 2},
    "vision_transformer_sam": {"depth": 3},  # the third block is the first with global attention
}


def smallest(file: Path) -> dict[str, str]:
    """The network with the fewest parameters of each family: a module of timm. Kept in the file."""
    if file.exists():
        kept: dict[str, str] = json.loads(file.read_text())
        return kept
    timm = import_module("timm")
    families: dict[str, list[str]] = {}
    for name in timm.list_models():
        if not name.startswith("test_"):  # those are not for use
            families.setdefault(timm.model_entrypoint(name).__module__.rsplit(".", 1)[-1], []).append(name)
    found = {family: _smallest(timm, names) for family, names in sorted(families.items())}
    file.write_text(json.dumps(found, indent=1))
    return found


def _smallest(timm: Any, names: list[str]) -> str:
    """Counted without weights, as far as the time goes."""
    start, counts = time.perf_counter(), {names[0]: float("inf")}
    for name in names:
        if time.perf_counter() - start > CHOICE_SECONDS:
            break
        try:
            with torch.device("meta"):
                counts[name] = sum(p.numel() for p in timm.create_model(name).parameters())
        except Exception:  # it computes with its weights when it is made
            continue
    return min(counts, key=lambda name: counts[name])


def from_timm(subject: Subject) -> Made:
    """The network at the first of the sizes that it takes, else at its own."""
    timm = import_module("timm")
    settings = SHALLOW.get(subject.family, {})
    for size in SIZES:
        for more in ({"img_size": size}, {}):
            x = torch.randn(2, 3, size, size)
            try:
                model = timm.create_model(subject.name, **settings, **more).eval()
                forward(model, x)
            except Exception:  # too small, not divisible, or fixed
                continue
            return model, x
    model = timm.create_model(subject.name, **settings).eval()
    return model, torch.randn(2, *timm.data.resolve_model_data_config(model)["input_size"])


def from_transformers(subject: Subject) -> Made:
    """The network, small by its configuration."""
    recipe = TRANSFORMERS[subject.family]
    kind = getattr(import_module("transformers"), recipe.model)
    model = kind(kind.config_class(**{"initializer_range": 0.2, **recipe.settings})).eval()  # 0.02 is for wide ones
    return model, torch.randn(2, *recipe.shape) if recipe.shape else _tokens()


def _tokens() -> dict[str, Tensor]:
    """Ids and mask of two texts, the second one padded."""
    ids = torch.randint(5, 100, (2, LENGTH))
    mask = torch.ones_like(ids)
    ids[1, TOKENS:], mask[1, TOKENS:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}
