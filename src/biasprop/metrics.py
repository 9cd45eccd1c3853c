"""How good is an attribution? The metrics that the papers of both systems publish, for any attribution method.

Keep and remove curves (KPM, KNM, KAM, RAM; Hesse, Schaub-Meyer & Roth, NeurIPS 2021, after Lundberg et al. 2020), the
relative difference of two attributions, the overlap of their most important features, insertion and deletion (Petsiuk
et al. 2018), and DeepLIFT's digit flip (Shrikumar et al. 2017). Nothing depends on the size of the batches.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .checks import check_labels
from .errors import InputError
from .progress import track

__all__ = [
    "FRACTIONS",
    "Curves",
    "Flip",
    "Insertion",
    "Overlap",
    "blurred",
    "digit_flip",
    "insertion_and_deletion",
    "keep_and_remove",
    "relative_difference",
    "top_overlap",
]

FRACTIONS = tuple(float(10 ** (-2 + 2 * i / 15)) for i in range(16))
"""Published: 16 fractions of all pixels, geometric from 0.01 to 1."""

Attribution = Callable[[Tensor, Tensor], Tensor]
"""From inputs ``(N, C, H, W)`` and labels ``(N,)`` to attributions like the inputs."""


def _area(curve: tuple[float, ...], fractions: tuple[float, ...]) -> float:
    return torch.trapezoid(torch.tensor(curve).double(), torch.tensor(fractions).double()).item()


@dataclass(frozen=True)
class Curves:
    """Keep and remove curves and the areas under them, over ``examples`` images.

    Attributes:
        fractions: of all pixels, as published.
        keep_positive: mean logit of the true class when the most positive pixels stay; area KPM (higher is better).
        keep_negative: the same for the most negative pixels; KNM (lower: better).
        keep_absolute: accuracy in percent when the pixels with the largest magnitude stay; KAM (higher: better).
        remove_absolute: accuracy in percent when those with the smallest magnitude stay; RAM (lower: better).
        examples: how many.
    """

    fractions: tuple[float, ...]
    keep_positive: tuple[float, ...]
    keep_negative: tuple[float, ...]
    keep_absolute: tuple[float, ...]
    remove_absolute: tuple[float, ...]
    examples: int

    @property
    def kpm(self) -> float:
        """Keep positive mask."""
        return _area(self.keep_positive, self.fractions)

    @property
    def knm(self) -> float:
        """Keep negative mask."""
        return _area(self.keep_negative, self.fractions)

    @property
    def kam(self) -> float:
        """Keep absolute mask."""
        return _area(self.keep_absolute, self.fractions)

    @property
    def ram(self) -> float:
        """Remove absolute mask."""
        return _area(self.remove_absolute, self.fractions)

    def __str__(self) -> str:
        return (
            f"KPM {self.kpm:.2f} (higher is better), KNM {self.knm:.2f} (lower), KAM {self.kam:.2f} (higher), "
            f"RAM {self.ram:.2f} (lower), over {self.examples} examples"
        )


def blurred(x: Tensor, size: int = 51, sigma: float = 41.0) -> Tensor:
    """What takes the place of removed pixels: a Gaussian blur, as published.

    The published kernel is ``exp(-d^2 / (4 sigma^2))``: a standard deviation of 58 for the nominal 41.

    Args:
        x: images, ``(N, C, H, W)``.
        size: of the kernel, odd.
        sigma: nominal.
    """
    distance = torch.arange(size, device=x.device, dtype=x.dtype) - size // 2
    line = torch.exp(-(distance**2) / (4 * sigma**2))
    line = (line / line.sum()).expand(x.shape[1], 1, 1, -1)
    half = size // 2
    mode = "reflect" if half < min(x.shape[-2:]) else "replicate"
    padded = F.pad(x, (half, half, half, half), mode=mode)
    return F.conv2d(F.conv2d(padded, line, groups=x.shape[1]), line.transpose(2, 3), groups=x.shape[1])


def keep_and_remove(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    attribute: Attribution,
    *,
    fractions: Iterable[float] = FRACTIONS,
    replacement: Callable[[Tensor], Tensor] = blurred,
    progress: bool = True,
) -> Curves:
    """Keep and remove curves of an attribution method.

    The map is the signed mean over the channels. Of its positive values (of a, -a or |a|) the ``k`` largest pixels
    stay, or for *remove* the ``k`` smallest, with ``k = min(int(p * H * W), number of positive values)``; every other
    pixel is replaced.

    Args:
        model: from ``(N, C, H, W)`` to logits ``(N, classes)``, in eval mode.
        loader: batches ``(x, labels)``.
        attribute: the method, e.g. ``lambda x, y: biasprop.explain(model, x, y).attribution``.
        fractions: p, ascending.
        replacement: from images to what replaces their pixels.
        progress: show a bar, on a terminal.

    Raises:
        InputError: a label is not a class; attributions are not finite or not like x; there is no example.
    """
    fractions = tuple(fractions)
    sums = torch.zeros(4, len(fractions), dtype=torch.float64)
    examples = 0
    for x, labels in track(loader, "keep and remove", progress):
        scores = _map(attribute(x, labels), x)
        with torch.no_grad():
            away, rows = replacement(x), torch.arange(len(x), device=x.device)
            for column, p in enumerate(fractions):
                kinds = ((scores, True), (-scores, True), (scores.abs(), True), (scores.abs(), False))
                for row, (score, largest) in enumerate(kinds):
                    logits = model(torch.where(_kept(score, p, largest)[:, None], x, away))
                    _check_labels(labels, logits)
                    value = logits[rows, labels] if row < 2 else 100.0 * (logits.argmax(1) == labels)
                    sums[row, column] += value.double().sum().cpu()
        examples += len(x)
    if not examples:
        raise InputError("The loader holds no example.")
    curves = [tuple(curve) for curve in (sums / examples).tolist()]
    return Curves(fractions, curves[0], curves[1], curves[2], curves[3], examples)


def _map(attribution: Tensor, x: Tensor) -> Tensor:
    """The signed mean over channels, ``(N, H, W)``."""
    if x.dim() != 4:
        raise InputError(f"Keep and remove curves are for images (N, C, H, W), not {tuple(x.shape)}.")
    if not isinstance(attribution, Tensor) or attribution.shape != x.shape:
        got = tuple(attribution.shape) if isinstance(attribution, Tensor) else type(attribution).__name__
        raise InputError(f"The attribution method returned {got}, and must return a tensor like x, {tuple(x.shape)}.")
    if not attribution.isfinite().all():
        raise InputError("The attribution method returned NaN or infinite values.")
    return attribution.detach().mean(1)


def _check_labels(labels: Tensor, logits: Tensor) -> None:
    if logits.dim() != 2 or labels.shape != logits.shape[:1] or labels.is_floating_point():
        raise InputError(f"Labels {tuple(labels.shape)} do not fit logits {tuple(logits.shape)}: one class an example.")
    check_labels(labels, logits.shape[1])


def _kept(score: Tensor, p: float, largest: bool) -> Tensor:
    """Which pixels stay, ``(N, H, W)``: among the positive scores the k largest or the k smallest."""
    flat = score.flatten(1)
    rank = flat.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    positive = (flat > 0).sum(1, keepdim=True)
    k = positive.clamp_max(int(p * flat.shape[1] + 1e-9))
    stays = rank < k if largest else (rank >= positive - k) & (rank < positive)
    return stays.reshape(score.shape)


def relative_difference(attribution: Tensor, reference: Tensor) -> Tensor:
    """``mean |A - R| / mean |R|`` of each example, ``(N,)``: 0 where the two agree (Hesse et al., Table 1).

    Args:
        attribution: ``(N, ...)``.
        reference: of the same shape, e.g. integrated gradients.

    Raises:
        InputError: the shapes differ, values are not finite, or a reference is all zero.
    """
    _check_pair(attribution, reference)
    size = reference.abs().flatten(1).mean(1)
    if not (size > 0).all():
        raise InputError(f"The reference is zero everywhere in example {int((size == 0).nonzero()[0])}.")
    return (attribution - reference).abs().flatten(1).mean(1) / size


@dataclass(frozen=True)
class Insertion:
    """Insertion and deletion curves, over ``examples`` images.

    Attributes:
        fractions: of all pixels.
        insertion: mean probability of the class when only that share of the pixels, those with the largest attribution,
            is shown; the area is better higher.
        deletion: the same when these are taken away; better lower.
        examples: how many.
    """

    fractions: tuple[float, ...]
    insertion: tuple[float, ...]
    deletion: tuple[float, ...]
    examples: int

    @property
    def insertion_area(self) -> float:
        """Area under the insertion curve."""
        return _area(self.insertion, self.fractions)

    @property
    def deletion_area(self) -> float:
        """Area under the deletion curve."""
        return _area(self.deletion, self.fractions)

    def __str__(self) -> str:
        return (
            f"insertion {self.insertion_area:.3f} (higher is better), deletion {self.deletion_area:.3f} (lower), over "
            f"{self.examples} examples"
        )


def insertion_and_deletion(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    attribute: Attribution,
    *,
    steps: int = 16,
    replacement: Callable[[Tensor], Tensor] = blurred,
    progress: bool = True,
) -> Insertion:
    """Insertion and deletion (Petsiuk, Das & Saenko, BMVC 2018), of the class that the loader names.

    The map is the signed mean over the channels; pixels are taken in its order, the largest first. Insertion starts
    from the replacement and shows them; deletion starts from the image and replaces them.

    Args:
        model: from ``(N, C, H, W)`` to logits ``(N, classes)``, in eval mode.
        loader: batches ``(x, classes)``; true or predicted ones.
        attribute: the method, e.g. ``lambda x, y: biasprop.explain(model, x, y).attribution``.
        steps: shares of the pixels, evenly from 0 to 1, besides 0.
        replacement: from images to what replaces their pixels.
        progress: show a bar, on a terminal.

    Raises:
        InputError: a class does not exist; attributions are not finite or not like x; there is no example.
    """
    if steps < 1:
        raise InputError(f"There must be at least one step, not {steps}.")
    fractions = tuple(i / steps for i in range(steps + 1))
    sums = torch.zeros(2, len(fractions), dtype=torch.float64)
    examples = 0
    for x, labels in track(loader, "insertion and deletion", progress):
        scores = _map(attribute(x, labels), x).flatten(1)
        with torch.no_grad():
            away = replacement(x)
            rank = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1).reshape(len(x), 1, *x.shape[2:])
            for column, p in enumerate(fractions):
                first = rank < round(p * scores.shape[1])
                for row, shown in enumerate((first, ~first)):
                    logits = model(torch.where(shown, x, away))
                    _check_labels(labels, logits)
                    sums[row, column] += logits.double().softmax(1).gather(1, labels[:, None]).sum().cpu()
        examples += len(x)
    if not examples:
        raise InputError("The loader holds no example.")
    insertion, deletion = (tuple(curve) for curve in (sums / examples).tolist())
    return Insertion(fractions, insertion, deletion, examples)


@dataclass(frozen=True)
class Overlap:
    """Share of one map's top features among the other's, ``(N,)``, and what independent maps would have."""

    share: Tensor
    chance: float


def top_overlap(first: Tensor, second: Tensor, fraction: float = 0.1) -> Overlap:
    """Which share of the ``fraction`` of features with the largest magnitude two maps have in common.

    The paper's statistic (Wang et al., ICML 2019, section 4.1) is one minus this.

    Args:
        first: ``(N, ...)``; sum over channels before for an overlap of pixels.
        second: of the same shape.
        fraction: of all features, above 0 and at most 1.

    Raises:
        InputError: the shapes differ, values are not finite, or the fraction is out of range.
    """
    _check_pair(first, second)
    if not 0 < fraction <= 1:
        raise InputError(f"The fraction must be above 0 and at most 1, not {fraction!r}.")
    n = first[0].numel()
    k = max(1, round(fraction * n))

    def top(values: Tensor) -> Tensor:
        flat = values.abs().flatten(1)
        return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, flat.topk(k).indices, True)

    return Overlap((top(first) & top(second)).sum(1) / k, k / n)


def _check_pair(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.dim() < 2:
        raise InputError(f"Two attributions (N, ...) of one shape are needed, not {first.shape} and {second.shape}.")
    if not (first.isfinite().all() and second.isfinite().all()):
        raise InputError("The attributions hold NaN or infinite values.")


@dataclass(frozen=True)
class Flip:
    """Change of the log-odds of each example, ``(N,)``, and whether the other class is now ahead, ``(N,)`` bool."""

    change: Tensor
    flipped: Tensor


def digit_flip(
    model: nn.Module,
    x: Tensor,
    source: int,
    target: int,
    attribution_source: Tensor,
    attribution_target: Tensor,
    erase: float = 0.2,
    reference: float = 0.0,
) -> Flip:
    """Erase what speaks for one class and against another, and see how far the prediction moves.

    Per pixel ``attribution_source - attribution_target``, summed over channels; the pixels above ``max(t, 0)`` are set
    to the reference, where t is the value just below the top ``erase`` share (Shrikumar et al. 2017, section 4.1).

    Args:
        model: from ``(N, C, H, W)`` to logits.
        x: images of the source class.
        source: that class.
        target: the other one.
        attribution_source: like x, for the logit of the source.
        attribution_target: like x, for the logit of the target.
        erase: at most this share of the pixels.
        reference: value of an erased pixel.

    Raises:
        InputError: shapes differ or values are not finite, or there is no such class.
    """
    for attribution in (attribution_source, attribution_target):
        _check_pair(attribution, x)
    difference = (attribution_source - attribution_target).sum(1).flatten(1)
    most = round(erase * difference.shape[1]) + 1
    threshold = difference.topk(min(most, difference.shape[1])).values[:, -1:].clamp_min(0)
    erased = (difference > threshold).reshape(len(x), 1, *x.shape[2:])
    with torch.no_grad():
        before, after = model(x), model(torch.where(erased, reference, x))
    for one in (source, target):
        _check_labels(torch.tensor([one], device=x.device), before[:1])
    odds = [y[:, source] - y[:, target] for y in (before, after)]
    return Flip(odds[0] - odds[1], odds[1] < 0)
