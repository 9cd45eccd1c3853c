"""The result: ``f(x) = sum(w * x) + sum(beta) + unattributed``, with the table of bias sources."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, overload

import torch
from numpy import ndindex
from torch import Tensor

from .errors import InputError, SourceError
from .sweep import BiasSource

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .regions import Regions

__all__ = ["Explanation", "Part", "Sources"]


class Sources(Sequence[BiasSource]):
    """The bias sources of a batch, in the network's order; their amounts add up to b.

    ``amounts`` has shape ``(N, number of sources)``, or ``(N, J, number of sources)`` with several targets.
    """

    def __init__(self, rows: Sequence[BiasSource], like: Tensor) -> None:
        """``like`` is the output, for a network without any source."""
        self._rows = tuple(rows)
        self.amounts = torch.stack([r.amount for r in rows], -1) if rows else like.new_zeros(*like.shape, 0)

    @property
    def names(self) -> list[str]:
        """The name of each source."""
        return [row.name for row in self._rows]

    @property
    def operations(self) -> list[str]:
        """The operation of each source."""
        return [row.operation for row in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[BiasSource]:
        return iter(self._rows)

    @overload
    def __getitem__(self, key: int | str) -> BiasSource: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[BiasSource]: ...
    def __getitem__(self, key: int | str | slice) -> BiasSource | Sequence[BiasSource]:
        """A row by position or by name."""
        if isinstance(key, str):
            found = [row for row in self._rows if row.name == key]
            if not found:
                raise SourceError(f"No bias source is called {key!r}. There are: {', '.join(self.names)}.")
            return found[0]
        return self._rows[key]

    def __str__(self) -> str:
        width = max([len(n) for n in self.names] + [6])
        kinds = max([len(o) for o in self.operations] + [9])
        columns = list(ndindex(*self.amounts.shape[:-1]))[:4]
        titles = [f"example {c[0]}" if len(c) == 1 else f"{c[0]}, target {c[1]}" for c in columns]
        lines = [f"{'source':<{width}}  {'operation':<{kinds}}" + "".join(f"{t:>14}" for t in titles)]
        for row in self._rows:
            amounts = "".join(f"{row.amount[c].item():>14.5g}" for c in columns)
            lines.append(f"{row.name:<{width}}  {row.operation:<{kinds}}{amounts}")
        totals = "".join(f"{self.amounts[c].sum().item():>14.5g}" for c in columns)
        return "\n".join([*lines, f"{'b':<{width}}  {'sum':<{kinds}}{totals}"])

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, eq=False)
class Part:
    """One attributed tensor: its ``value``, its gradient ``weight`` and its ``beta``.

    All of one shape; with several targets, weight and beta have a dimension for these after the batch.
    """

    name: str
    value: Tensor
    weight: Tensor
    beta: Tensor
    batch_dim: int = 0
    is_input: bool = True

    @property
    def several(self) -> bool:
        """Whether there is a dimension of targets."""
        return self.weight.dim() > self.value.dim()

    @property
    def product(self) -> Tensor:
        """``w * x``, like the weight."""
        return self.weight * (self.value.unsqueeze(self.batch_dim + 1) if self.several else self.value)

    def rows(self, values: Tensor, batch: int) -> Tensor:
        """A tensor like the weight with a row for each example (and target): ``(batch, rest)``, ``(batch, J, rest)``.

        An example may be several entries of the batch dimension (tokens folded into it).
        """
        values = self.examples_first(values)
        if not self.several:
            return values.reshape(batch, -1)
        targets = values.shape[1]
        return values.reshape(batch, -1, targets, values[0, 0].numel()).transpose(1, 2).flatten(2)

    def examples_first(self, values: Tensor) -> Tensor:
        """A tensor like the weight with the batch (and the targets) in front."""
        return (
            values.movedim((self.batch_dim, self.batch_dim + 1), (0, 1))
            if self.several
            else values.movedim(self.batch_dim, 0)
        )

    def per_example(self, values: Tensor, batch: int) -> Tensor:
        """Sum a tensor like the weight over everything but the examples and targets."""
        return self.rows(values, batch).sum(-1)


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """A complete explanation of a batch of ``N`` predictions (spec section 1).

    ``sum(weight_attribution) + sum(bias_attribution) + unattributed + withheld + bypassed = output``, where the last
    two are zero unless ``sources`` was restricted or a hidden tensor is not a full cut of the network. Attributes of
    an explanation of a tuple of inputs are tuples. With ``targets=``, everything but the input has a dimension of J
    targets after the batch: what is ``(N,)`` here is then ``(N, J)``; see `for_target`.

    Attributes:
        parts: the attributed tensors.
        single: whether there is one, not in a tuple.
        output: f(x) of the target, ``(N,)``.
        unattributed: bias that could not reach an input, ``(N,)``.
        withheld: bias of the sources that were left out, ``(N,)``.
        bypassed: what of f(x) goes past the hidden tensors, ``(N,)``.
        sources: table of the bias sources.
        rule: name of the rule.
        temperature: T.
        target: the chosen index of each example, or the name of the callable; with several targets a list of these.
        again: runs the sweep once more to hidden tensors; None for a loaded explanation.
    """

    parts: tuple[Part, ...]
    single: bool
    output: Tensor
    unattributed: Tensor
    withheld: Tensor
    bypassed: Tensor
    sources: Sources
    rule: str
    temperature: float
    target: Any
    again: Callable[..., "Explanation"] | None = None

    def _collect(self, of: Callable[[Part], Tensor]) -> Any:
        values = tuple(of(part) for part in self.parts)
        return values[0] if self.single else values

    def _sums(self, of: Callable[[Part], Tensor]) -> Tensor:
        return torch.stack([p.per_example(of(p), len(self.output)) for p in self.parts]).sum(0)

    @property
    def input(self) -> Any:
        """What was attributed to: x, or the hidden tensor."""
        return self._collect(lambda p: p.value)

    @property
    def weight(self) -> Any:
        """``w = df/dx``, like x."""
        return self._collect(lambda p: p.weight)

    @property
    def weight_attribution(self) -> Any:
        """``w * x``, like x."""
        return self._collect(lambda p: p.product)

    @property
    def bias_attribution(self) -> Any:
        """``beta``, like x: the share of the bias b that belongs to each feature."""
        return self._collect(lambda p: p.beta)

    @property
    def attribution(self) -> Any:
        """``w * x + beta``, like x: the complete attribution."""
        return self._collect(lambda p: p.product + p.beta)

    @property
    def bias(self) -> Tensor:
        """``b = f(x) - w . x``, ``(N,)``."""
        return self.output - self.bypassed - self._sums(lambda p: p.product)

    @property
    def residual(self) -> Tensor:
        """``sum(w*x) + sum(beta) + unattributed + withheld + bypassed - f(x)``, ``(N,)``: rounding, nothing else."""
        total = self._sums(lambda p: p.product + p.beta)
        return total + self.unattributed + self.withheld + self.bypassed - self.output

    @property
    def completeness_error(self) -> Tensor:
        """``|residual|`` relative to ``|w*x|.sum() + |beta|.sum()``, ``(N,)``; absolute where these are 0."""
        size = self._sums(lambda p: p.product.abs() + p.beta.abs())
        return self.residual.abs() / torch.where(size > 0, size, 1)

    def at(self, *names: str) -> "Explanation":
        """The same quantities at hidden tensors (Lemma 1), by module path (``"features.3"``) or operation name.

        The sweep runs again and stops there. If the tensors are a full cut of the network, their attributions add up
        to f(x); otherwise ``bypassed`` says how much of f(x) goes past them.

        Raises:
            SourceError: no tensor has that name; the model's weights have changed; or this explanation was loaded
                from a file.
        """
        if self.again is None:
            raise SourceError("This explanation was loaded or cut out of a batch and has no model: explain again.")
        hidden = self.again(*names)
        tolerance = 1e-9 if self.output.dtype == torch.float64 else 1e-4
        if ((hidden.output - self.output).abs() > tolerance * self.output.abs().max()).any():
            raise SourceError("The model has changed since this explanation was made: explain again.")
        return hidden

    def example(self, i: int) -> "Explanation":
        """The explanation of one example of the batch, as a batch of one (without `at`).

        Raises:
            IndexError: there is no such example.
        """
        n = len(self.output)
        one = slice(range(n)[i], range(n)[i] + 1)

        def pick(part: Part, values: Tensor) -> Tensor:
            values = values.movedim(part.batch_dim, 0)
            return values.reshape(n, -1, *values.shape[1:])[one].flatten(0, 1).movedim(0, part.batch_dim)

        parts = tuple(
            replace(p, value=pick(p, p.value), weight=pick(p, p.weight), beta=pick(p, p.beta)) for p in self.parts
        )
        rows = [replace(row, amount=row.amount[one]) for row in self.sources]
        return replace(
            self,
            parts=parts,
            output=self.output[one],
            unattributed=self.unattributed[one],
            withheld=self.withheld[one],
            bypassed=self.bypassed[one],
            sources=Sources(rows, self.output[one]),
            target=[_of(t, one) for t in self.target] if self.several else _of(self.target, one),
            again=None,
        )

    @property
    def several(self) -> bool:
        """Whether this explains several targets (``targets=``)."""
        return self.output.dim() == 2

    def for_target(self, j: int) -> "Explanation":
        """The explanation of the ``j``-th of several targets, without the dimension of targets (and without `at`).

        Raises:
            InputError: there is one target only.
            IndexError: there is no such target.
        """
        if not self.several:
            raise InputError("This explanation has one target: it is the explanation for_target would give.")
        j = range(self.output.shape[1])[j]
        parts = tuple(
            replace(p, weight=p.weight.select(p.batch_dim + 1, j), beta=p.beta.select(p.batch_dim + 1, j))
            for p in self.parts
        )
        rows = [replace(row, amount=row.amount[:, j]) for row in self.sources]
        return replace(
            self,
            parts=parts,
            output=self.output[:, j],
            unattributed=self.unattributed[:, j],
            withheld=self.withheld[:, j],
            bypassed=self.bypassed[:, j],
            sources=Sources(rows, self.output[:, j]),
            target=self.target[j],
            again=None,
        )

    def regions(self, labels: Any) -> "Regions":
        """Sums over patches or over a region map; they stay complete. See `biasprop.regions.sum_regions`."""
        from .regions import sum_regions

        return sum_regions(self, labels)

    def save(self, path: str | PathLike[str]) -> None:
        """Write a safetensors file, atomically; `biasprop.load` reads it back (without the model)."""
        from .archive import save

        save(self, path)

    def plot(self, example: int = 0, **options: Any) -> "Figure":
        """A matplotlib figure: heat maps for images, bars for features. See `biasprop.plot.plot`."""
        from .plot import plot

        return plot(self, example, **options)

    def summary(self, feature_names: Sequence[str] | None = None, examples: int = 3, features: int = 5) -> str:
        """A short readable text: ``f(x) = w.x + b``, the largest features, the completeness error."""
        from .summary import summarize

        return summarize(self, feature_names, examples, features)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        shapes = ", ".join(f"{p.name} {tuple(p.value.shape)}" for p in self.parts)
        return f"Explanation({len(self.output)} examples, {shapes}, rule={self.rule!r})"


def _of(target: Any, examples: slice) -> Any:
    return target[examples] if isinstance(target, list) else target
