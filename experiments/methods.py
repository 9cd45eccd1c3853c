"""The attribution methods that are compared, for the target class of each example.

All give tensors like x ``(N, C, H, W)``; where a method knows no channels they have equal parts.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any, cast

import torch
import torch.nn.functional as F
import zennit.attribution
import zennit.canonizers
import zennit.composites
from captum.attr import DeepLift, InputXGradient, IntegratedGradients, LayerAttribution, LayerGradCam, NoiseTunnel
from torch import Tensor, nn

import biasprop
from biasprop.report import BIAS, TOTAL, WEIGHT

from .subjects import Subject

__all__ = ["COLOURS", "LABELS", "Method", "costs", "make_methods"]

FLAT = biasprop.rules.Compensation(temperature=1e30)
"""Equal shares of all components."""

Method = Callable[[Tensor, Tensor], Tensor]
"""From inputs ``(N, C, H, W)`` and target classes ``(N,)`` to attributions like the inputs."""

LABELS = {
    "random": "random",
    "gradient": "gradient",
    "w*x": "input * gradient",
    "eg1": "expected gradients, 1 sample",
    "ig5": "IG, 5 steps",
    "ig10": "IG, 10 steps",
    "ig50": "IG, 50 steps",
    "ig128": "IG, 128 steps",
    "deeplift": "DeepLIFT",
    "fullgrad": "FullGrad, signed",
    "bias1": "beta, bias1",
    "bias2": "beta, bias2",
    "bias3": "beta, bias3",
    "w*x+bias1": "w*x + beta, bias1",
    "w*x+bias2": "w*x + beta, bias2",
    "w*x+bias3": "w*x + beta, bias3",
    "xgradient": "X-Gradient",
    "smoothgrad": "SmoothGrad * input",
    "gradcam": "Grad-CAM",
    "lrp": "LRP epsilon-plus",
    "lrp-flat": "LRP epsilon-plus-flat",
    "half": "half: w*x (as AttnLRP)",
    "frozen": "frozen: w*x (as CP-LRP)",
    "handover": "hand-over, bias1",
    "handover-3": "hand-over, bias1 / bias3",
    "handover-flat": "hand-over, bias1 / flat",
    "at": "at= the hand-over, enlarged",
    "mixture": "hand-over and at=, mean",
}

COLOURS = {
    name: colour
    for names, colour in (
        (("random",), "#bbbbbb"),
        (("gradient", "w*x", "eg1", "half", "frozen"), WEIGHT),
        (("ig5", "ig10", "ig50", "ig128", "smoothgrad"), "#999999"),
        (("deeplift", "fullgrad", "gradcam", "lrp", "lrp-flat"), "#999999"),
        (("bias1", "bias2", "bias3"), BIAS),
        (("w*x+bias1", "w*x+bias2", "w*x+bias3", "handover", "handover-3", "handover-flat", "at", "mixture"), TOTAL),
        (("xgradient",), "#b2182b"),
    )
    for name in names
}
"""Ours in the colours of its terms, the others in grey."""

VALUES = 2**20
"""So many values of x at once: photos are four times as fast in batches that caches hold."""


def make_methods(
    subject: Subject,
    names: Sequence[str],
    baseline: Tensor | float = 0.0,
    seed: int = 0,
    explain: biasprop.Explainer | None = None,
) -> dict[str, Method]:
    """The methods by name, for one network.

    Args:
        subject: the network, and the references of expected gradients.
        names: keys of `LABELS`.
        baseline: of integrated gradients and DeepLIFT, broadcastable to x.
        seed: of what is drawn at random.
        explain: an explainer of the network, which has captured it already.
    """
    explain = explain or biasprop.Explainer(subject.model)
    return {name: _method(name, subject, explain, baseline, torch.Generator().manual_seed(seed)) for name in names}


def _method(
    name: str, subject: Subject, explain: biasprop.Explainer, baseline: Tensor | float, generator: torch.Generator
) -> Method:
    model = subject.model
    rule = name.removeprefix("w*x+")
    below: dict[str, Any] = {"handover": "bias1", "handover-3": "bias3", "handover-flat": FLAT}
    match name:
        case "random":
            return lambda x, target: torch.rand(x.shape, generator=generator) * 2 - 1
        case "gradient":
            return partial(_gradient, model)
        case "w*x":
            return lambda x, target: x * _gradient(model, x, target)
        case "eg1":
            return partial(_expected_gradients, model, subject.references, generator)
        case "ig5" | "ig10" | "ig50" | "ig128":
            return partial(_integrated_gradients, model, baseline, int(name[2:]))
        case "deeplift":
            return partial(_deeplift, model, baseline)
        case "fullgrad":
            return partial(_full_gradient, model)
        case "bias1" | "bias2" | "bias3":
            return lambda x, target: explain(x, target, rule).bias_attribution
        case "w*x+bias1" | "w*x+bias2" | "w*x+bias3":
            return lambda x, target: explain(x, target, rule).attribution
        case "half" | "frozen":
            linear = explain.linearized(cast(Any, name))
            return lambda x, target: linear(x, target).weight_attribution
        case "handover" | "handover-3" | "handover-flat":
            return lambda x, target: explain(x, target, ("bias1", below[name]), handover="auto").attribution
        case "at":
            return partial(_enlarged, explain)
        case "mixture":
            return partial(_mixture, explain)
        case "smoothgrad":
            return partial(_smooth_gradient, model)
        case "gradcam":
            return partial(_gradcam, model, subject.layer)
        case "lrp" | "lrp-flat":
            return partial(_relevance, model, name)
        case "xgradient":
            return biasprop.XGradient(model).attribute
    raise biasprop.InputError(f"There is no method {name!r}; there are {', '.join(LABELS)}.")


def _gradient(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(model(x).gather(1, target[:, None]).sum(), x)[0]


def _expected_gradients(
    model: nn.Module, references: Tensor, generator: torch.Generator, x: Tensor, target: Tensor
) -> Tensor:
    """One reference drawn from the training images and one point on the way from it (Erion et al. 2021)."""
    chosen = references[torch.randint(len(references), (len(x),), generator=generator)]
    way = torch.rand(len(x), 1, 1, 1, generator=generator)
    return (x - chosen) * _gradient(model, chosen + way * (x - chosen), target)


def _integrated_gradients(model: nn.Module, baseline: Tensor | float, steps: int, x: Tensor, target: Tensor) -> Tensor:
    """Midpoints; Gauss-Legendre for 128 steps, as in the paper of X-Gradient."""
    method = "gausslegendre" if steps == 128 else "riemann_middle"
    at = torch.as_tensor(baseline, dtype=x.dtype).expand_as(x[:1])
    batch = max(len(x), min(256, VALUES // x[0].numel()))
    found: Tensor = IntegratedGradients(model).attribute(
        x, at, target, n_steps=steps, method=method, internal_batch_size=batch
    )
    return found.detach().to(x.dtype)


def _deeplift(model: nn.Module, baseline: Tensor | float, x: Tensor, target: Tensor) -> Tensor:
    """The rescale rule; Captum sees activations that are modules, and without these it is gradient * input."""
    if not any(isinstance(module, nn.ReLU) for module in model.modules()):
        raise RuntimeError("Captum's DeepLIFT finds no activation among the modules")
    at = torch.as_tensor(baseline, dtype=x.dtype).expand_as(x[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum says that it sets hooks
        found: Tensor = DeepLift(model).attribute(x, at, target)
    return found.detach()


def _enlarged(explain: biasprop.Explainer, x: Tensor, target: Tensor) -> Tensor:
    """The complete attribution to the tensor of the hand-over, laid over the image."""
    made: Any = explain(x, target, handover="auto")
    return _over_channels(made.map(at=made.handover), x)


def _mixture(explain: biasprop.Explainer, x: Tensor, target: Tensor) -> Tensor:
    """The mean of two complete maps is complete."""
    made: Any = explain(x, target, ("bias1", "bias3"), handover="auto")
    return (made.attribution + _over_channels(made.map(at=made.handover), x)) / 2  # type: ignore[no-any-return]


def _over_channels(values: Tensor, x: Tensor) -> Tensor:
    """A map ``(N, H, W)`` as a tensor like x."""
    return values[:, None].expand_as(x) / x.shape[1]


def _smooth_gradient(model: nn.Module, x: Tensor, target: Tensor, samples: int = 50, noise: float = 0.15) -> Tensor:
    """The noise is a share of the range of the inputs (Smilkov et al. 2017)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        size = noise * float(x.max() - x.min())
        batch = max(1, min(5, VALUES // x.numel()))
        found: Tensor = NoiseTunnel(InputXGradient(model)).attribute(
            x, nt_samples=samples, nt_samples_batch_size=batch, stdevs=size, target=target
        )
    return found.detach()


def _gradcam(model: nn.Module, layer: str, x: Tensor, target: Tensor) -> Tensor:
    """Signed, which orders all of the image; enlarged (Selvaraju et al. 2017)."""
    found = LayerGradCam(model, model.get_submodule(layer)).attribute(x, target).detach()
    return _over_channels(LayerAttribution.interpolate(found, tuple(x.shape[2:]), "bilinear")[:, 0], x)


def _relevance(model: nn.Module, name: str, x: Tensor, target: Tensor) -> Tensor:
    """Layer-wise relevance propagation of the logit by zennit, batch norms merged where they follow in sequence."""
    composite = zennit.composites.EpsilonPlusFlat if name == "lrp-flat" else zennit.composites.EpsilonPlus
    rules = composite(canonizers=[zennit.canonizers.SequentialMergeBatchNorm()])

    def start(output: Tensor) -> Tensor:
        return torch.zeros_like(output).scatter(1, target[:, None], output.gather(1, target[:, None]))

    with zennit.attribution.Gradient(model, rules) as attributor:
        found: Tensor = attributor(x.detach().requires_grad_(), start)[1]
    return found.detach()


def _full_gradient(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """``w * x`` plus the bias-gradients of the convolutions, laid over the image (after Srinivas & Fleuret 2019).

    Signed, where theirs takes magnitudes, so that the difference of two classes has a meaning. Only biases of
    convolutions have a place in the image: those of linear layers are left out, and there must be no batch norm.
    """
    outputs: list[tuple[nn.Conv2d, Tensor]] = []

    def keep(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            outputs.append((module, output))

    hooks = [module.register_forward_hook(keep) for module in model.modules()]
    try:
        x = x.detach().requires_grad_()
        logits = model(x).gather(1, target[:, None]).sum()
    finally:
        for hook in hooks:
            hook.remove()
    gradients = torch.autograd.grad(logits, [x, *(output for _, output in outputs)])
    found = (x * gradients[0]).detach()
    for (module, _), gradient in zip(outputs, gradients[1:], strict=True):
        assert module.bias is not None
        amounts = (gradient * module.bias.detach()[:, None, None]).sum(1, keepdim=True)
        larger = F.interpolate(amounts, x.shape[-2:], mode="bilinear", align_corners=False)
        scale = amounts.numel() / larger.numel()
        found += larger * scale / x.shape[1]
    return found


def costs(
    methods: dict[str, Method], model: nn.Module, x: Tensor, target: Tensor, repetitions: int = 5
) -> dict[str, float]:
    """Time of each in gradients: medians of interleaved repetitions in this process."""
    timed: dict[str, Method] = {"a gradient": partial(_gradient, model), **methods}
    times: dict[str, list[float]] = {name: [] for name in timed}
    for repetition in range(repetitions + 1):
        for name, method in timed.items():
            start = time.perf_counter()
            method(x, target)
            if repetition:  # the first one warms up
                times[name].append(time.perf_counter() - start)
    unit = median(times.pop("a gradient"))
    return {name: median(values) / unit for name, values in times.items()}
