"""The result: ``f(x) = sum(w * x) + sum(beta) + unattributed``, with the table of bias sources."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, Generic, Self, cast

import torch
from torch import Tensor

from ..errors import InputError
from .part import Part
from .regions import Regions, sum_regions
from .sources import BiasSource, Sources
from .targets import TargetAxis, X
from .tokens import Tokens, cut_ids, tokens_of

__all__ = ["Decomposition"]


@dataclass(frozen=True, eq=False, repr=False)
class Decomposition(Generic[X]):
    """A batch of ``N`` predictions taken apart completely (mathematics, section 1).

    ``sum(weight_attribution) + sum(bias_attribution) + unattributed + withheld + bypassed = output``, where the last
    two are zero unless ``sources`` was restricted or a hidden tensor is not a full cut of the network. Attributes of
    an explanation of a tuple of inputs are tuples. With ``targets=``, everything but the input has a dimension of J
    targets after the batch: what is ``(N,)`` here is then ``(N, J)``; see `for_target`.

    Attributes:
        parts: the attributed tensors.
        single: whether there is one, not in a tuple.
        values: f(x) of the targets, ``(J, N)``.
        lost: bias that could not reach an input, ``(J, N)``.
        left_out: bias of the sources that were left out, ``(J, N)``.
        past: what of f(x) goes past the hidden tensors, ``(J, N)``.
        table: the bias sources that the sweep met, with amounts ``(J, N)``; all below a hand-over are one.
        axis: the targets.
        rule: name of the rule.
        temperature: T of the rule; None for a rule that has none.
        linearization: of smooth operations; see `biasprop.explain`.
        ids: of the parts that are embeddings of tokens, ``(N, L)`` each; see `tokens`.
        handover: where the attribution was handed over, names joined by ", "; empty for nowhere.
        chance: softmax of the outputs at the targets, ``(J, N)``; None where the output is no row of classes.
        classes: names of the outputs, where the model has them (classifiers of transformers), or `named` gave them.
        features: names of tabular features, if `named` gave them.
    """

    parts: tuple[Part, ...]
    single: bool
    values: Tensor
    lost: Tensor
    left_out: Tensor
    past: Tensor
    table: Sequence[BiasSource]
    axis: TargetAxis
    rule: str
    temperature: float | None
    linearization: str = "tangent"
    ids: tuple[Tensor | None, ...] = ()
    handover: str = ""
    chance: Tensor | None = None
    classes: Sequence[str] = ()
    features: Sequence[str] = ()

    def __len__(self) -> int:
        return self.values.shape[1]

    def _collect(self, of: Callable[[Part], Tensor]) -> X:
        values = tuple(self.axis.outward(of(part), part.batch_dim) for part in self.parts)
        return cast(X, values[0] if self.single else values)

    @cached_property
    def _totals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of ``w * x``, of ``beta`` and of the absolute values of both, ``(J, N)``."""
        found = []
        for part in self.parts:
            product, beta = (part.by_example(kind, len(self)) for kind in (part.product, part.beta))
            found.append((product.sum(2), beta.sum(2), _size(product) + _size(beta)))
        linear, bias, size = (reduce(torch.add, each) for each in zip(*found, strict=True))
        return linear, bias, size

    @property
    def _missing(self) -> Tensor:
        """By how much the parts miss f(x), ``(J, N)``."""
        linear, bias, _ = self._totals
        return linear + bias + self.lost + self.left_out + self.past - self.values

    @property
    def input(self) -> X:
        """What was attributed to: x, or the hidden tensor."""
        values = tuple(part.value for part in self.parts)
        return cast(X, values[0] if self.single else values)

    @property
    def weight(self) -> X:
        """``w = df/dx``, like x.

        Raises:
            InputError: there was a hand-over, below which no gradient is taken.
        """
        if any(part.handed is not None for part in self.parts):
            raise InputError(
                f"This explanation was handed over at {self.handover}: there is no gradient below. Its "
                "weight_attribution sums to w.x; for w itself explain with handover=None."
            )
        return self._collect(lambda p: p.weight)

    @property
    def weight_attribution(self) -> X:
        """``w * x``, like x; with a hand-over what alpha makes of it, which sums to the same ``w.x``."""
        return self._collect(lambda p: p.product)

    @property
    def bias_attribution(self) -> X:
        """``beta``, like x: the share of the bias b that belongs to each feature."""
        return self._collect(lambda p: p.beta)

    @property
    def attribution(self) -> X:
        """``w * x + beta``, like x: the complete attribution."""
        return self._collect(lambda p: p.product + p.beta)

    @property
    def tokens(self) -> Tokens | tuple[Tokens, ...]:
        """The attributions of a text, one number for each token; a tuple for several texts.

        Raises:
            InputError: nothing in this explanation is a text.
        """
        found = tokens_of(self.parts, self.ids, self.axis)
        if not found:
            raise InputError(
                "This explanation has no tokens: they are there where x holds token ids, with one embedding for each, "
                "and not at hidden tensors. Use its attribution."
            )
        return found[0] if len(found) == 1 else found

    @property
    def output(self) -> Tensor:
        """f(x) of the target, ``(N,)``."""
        return self.axis.outward(self.values)

    @property
    def probability(self) -> Tensor | None:
        """Softmax of the model's outputs ``(N, classes)`` at the target, ``(N,)``; None where there are no classes.

        Of a language model that of the next token. It means a probability where the model was trained so.
        """
        return None if self.chance is None else self.axis.outward(self.chance)

    @property
    def unattributed(self) -> Tensor:
        """Bias that could not reach an input, ``(N,)``."""
        return self.axis.outward(self.lost)

    @property
    def withheld(self) -> Tensor:
        """Bias of the sources that were left out, ``(N,)``."""
        return self.axis.outward(self.left_out)

    @property
    def bypassed(self) -> Tensor:
        """What of f(x) goes past the hidden tensors, ``(N,)``."""
        return self.axis.outward(self.past)

    @property
    def bias(self) -> Tensor:
        """``b = f(x) - w . x``, ``(N,)``."""
        return self.axis.outward(self.values - self.past - self._totals[0])

    @property
    def residual(self) -> Tensor:
        """``sum(w*x) + sum(beta) + unattributed + withheld + bypassed - f(x)``, ``(N,)``: rounding, nothing else."""
        return self.axis.outward(self._missing)

    @property
    def magnitude(self) -> Tensor:
        """``|w*x|.sum() + |beta|.sum()``, ``(N,)``."""
        return self.axis.outward(self._totals[2])

    @property
    def completeness_error(self) -> Tensor:
        """``|residual|`` relative to ``|w*x|.sum() + |beta|.sum()``, ``(N,)``; absolute where these are 0."""
        size = self.magnitude
        return self.residual.abs() / torch.where(size > 0, size, 1)

    @property
    def sources(self) -> Sources:
        """Table of the bias sources."""
        return Sources.outward(self.table, self.axis, self.values)

    @property
    def target(self) -> Any:
        """The chosen index of each example, or the name of the callable; with several targets a list of these."""
        return self.axis.target

    @property
    def several(self) -> bool:
        """Whether this explains several targets (``targets=``)."""
        return self.axis.several

    def example(self, i: int) -> Self:
        """The explanation of one example of the batch, as a batch of one.

        Raises:
            IndexError: there is no such example.
        """
        i = range(len(self))[i]
        one = slice(i, i + 1)
        chosen = tuple(c[one] if isinstance(c, list) else c for c in self.axis.chosen)
        return replace(
            self._cut(lambda values: values[:, one]),
            parts=tuple(part.of_example(i, len(self)) for part in self.parts),
            axis=replace(self.axis, chosen=chosen),
            ids=cut_ids(self.ids, i),
        )

    def named(self, classes: Sequence[str] | None = None, features: Sequence[str] | None = None) -> Self:
        """The same explanation, which says in texts, pictures and pages what things are called.

        Args:
            classes: names of the outputs; default: those it has.
            features: names of tabular features; default: those it has.

        Raises:
            InputError: one of them is no list of names.
        """
        outputs, inputs = _names("classes", classes, self.classes), _names("features", features, self.features)
        return replace(self, classes=outputs, features=inputs)

    def for_target(self, j: int) -> Self:
        """The explanation of the ``j``-th of several targets, without the dimension of targets.

        Raises:
            InputError: there is one target only.
            IndexError: there is no such target.
        """
        if not self.several:
            raise InputError("This explanation has one target: it is the explanation for_target would give.")
        j = range(len(self.values))[j]
        return replace(
            self._cut(lambda values: values[j : j + 1]),
            parts=tuple(part.of_target(j) for part in self.parts),
            axis=self.axis.only(j),
        )

    def _cut(self, cut: Callable[[Tensor], Tensor]) -> Self:
        """With everything that is ``(J, N)`` cut."""
        return replace(
            self,
            values=cut(self.values),
            lost=cut(self.lost),
            left_out=cut(self.left_out),
            past=cut(self.past),
            chance=None if self.chance is None else cut(self.chance),
            table=[replace(s, amount=cut(s.amount)) for s in self.table],
        )

    def regions(self, labels: Any) -> Regions[X]:
        """Sums over patches or over a region map; they stay complete.

        Args:
            labels: a patch size, or an integer tensor (or array) of region numbers from 0 that broadcasts to one
                example of the attributed tensor, e.g. ``(H, W)`` for ``(C, H, W)``; a tuple for a tuple of inputs.

        Raises:
            InputError: labels are not integers, negative, or do not fit the attributed tensor.
        """
        if self.single:
            return Regions(*(cast(X, kind) for kind in sum_regions(self.parts[0], labels, self.axis, len(self))))
        if not isinstance(labels, tuple) or len(labels) != len(self.parts):
            raise InputError(f"This explanation has {len(self.parts)} tensors: give a tuple of as many region maps.")
        summed = [sum_regions(p, one, self.axis, len(self)) for p, one in zip(self.parts, labels, strict=True)]
        return Regions(*(cast(X, tuple(kind)) for kind in zip(*summed, strict=True)))


def _size(values: Tensor) -> Tensor:
    """The sum of the absolute values of each row, ``(J, N, rest)`` to ``(J, N)``."""
    size: Tensor = torch.linalg.vector_norm(values, 1, 2)
    return size


def _names(what: str, given: Any, otherwise: Sequence[str]) -> Sequence[str]:
    if given is None:
        return otherwise
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"{what} must be a list of names, not {given!r}.")
    return tuple(map(str, given))
