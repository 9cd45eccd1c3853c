"""What `explain` returns: a complete decomposition, and how it is shown and kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from ..errors import BiaspropError, InputError, SourceError
from ..files import write_atomically
from ..propagation import Swept
from ..report import Received, draw, frame_of, largest_received, plain_values, summarize
from ..report.page import content_of, framed, html_of
from ..results import (
    BiasSource,
    Decomposition,
    Sources,
    Tokenizer,
    enlarged,
    in_patches,
    map_of,
    read_decomposition,
    write_decomposition,
)
from ..results.targets import X
from ..version import __version__
from .again import Again

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Explanation", "load"]


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Decomposition[X]):
    """A complete explanation of ``N`` predictions; see `biasprop.results.Decomposition` for what it holds.

    ``again`` explains the same inputs once more; None for an explanation that was loaded, or cut out of another.
    ``every_source`` gives f(x) and the whole table of bias sources, which a sweep with a hand-over does not meet.
    """

    again: Again | None = None
    every_source: Callable[[], tuple[Tensor, Sequence[BiasSource]]] | None = None

    @classmethod
    def of(cls, swept: Swept, **described: Any) -> Self:
        """What a sweep has brought to the inputs, or to hidden tensors, and how it is ``described``."""
        return cls(
            parts=swept.parts,
            values=swept.value,
            chance=swept.probability,
            lost=swept.unattributed,
            left_out=swept.withheld,
            past=swept.bypassed,
            table=swept.sources,
            axis=swept.axis,
            **described,
        )

    def at(self, *names: str) -> "Explanation[Any]":
        """The same quantities at hidden tensors (Lemma 1), by module path (``"features.3"``) or operation name.

        The sweep runs again and stops there. If the tensors are a full cut of the network, their attributions add up
        to f(x); otherwise ``bypassed`` says how much of f(x) goes past them. A tensor for one name, tuples for several.

        Raises:
            SourceError: no tensor has that name; the model's weights have changed; or this explanation was loaded
                from a file.
        """
        if self.again is None:
            raise SourceError("This explanation was loaded or cut out of a batch and has no model: explain again.")
        hidden: Explanation[Any] = self.again.at(*names)
        self._require_same(hidden.values)
        return hidden

    @property
    def sources(self) -> Sources:
        """Table of the bias sources; with a hand-over the same as without, for one more gradient at the first use.

        Raises:
            SourceError: the model's weights have changed since.
        """
        return Sources.outward(self._whole_table, self.axis, self.values)

    @cached_property
    def _whole_table(self) -> Sequence[BiasSource]:
        if self.every_source is None:
            return self.table
        values, table = self.every_source()
        self._require_same(values)
        return table

    def _require_same(self, values: Tensor) -> None:
        tolerance = 1e-9 if self.values.dtype == torch.float64 else 1e-4
        if ((values - self.values).abs() > tolerance * self.values.abs().max()).any():
            raise SourceError("The model has changed since this explanation was made: explain again.")

    def map(self, size: int | None = None, at: str | None = None) -> Tensor:
        """A map for people, ``(N, *space)``: the attribution ``w * x + beta`` summed over channels; its sum is kept.

        Args:
            size: sum over patches of so many pixels; the map has a number for each of them.
            at: the attribution to this hidden tensor instead, laid over the space of the input.

        Raises:
            InputError: the input is not one tensor with channels and space, the size is no positive number, or the
                hidden tensor is larger than the input.
            SourceError: as `at`.
        """
        if len(self.parts) != 1:
            raise InputError(f"This explanation has {len(self.parts)} tensors: a map is of one.")
        if any(ids is not None for ids in self.ids):
            raise InputError("This explanation is of a text, which has no map: use its tokens.")
        values = map_of(self.parts[0], len(self))
        if at is not None:
            values = enlarged(map_of(self.at(at).parts[0], len(self)), values.shape[2:])
        return self.axis.outward(values if size is None else in_patches(values, size))

    def _cut(self, cut: Callable[[Tensor], Tensor]) -> Self:
        whole = replace(self, table=self._whole_table, again=None, every_source=None)
        return super(Explanation, whole)._cut(cut)

    def save(self, path: str | PathLike[str]) -> None:
        """Write a safetensors file, atomically; `biasprop.load` reads it back (without the model).

        Raises:
            FileError: the folder cannot be written to.
        """
        write_decomposition(self, path)

    def plot(self, example: int = 0, **options: Any) -> "Figure":
        """A matplotlib figure: heat maps for images, coloured words for texts (with ``tokenizer=``), bars for features.

        See `biasprop.report.draw` for the options.

        Raises:
            InputError: there is no such example or part, the image does not fit, or there are several targets.
            MissingExtra: matplotlib is not installed.
        """
        return draw(self, example, **options)

    def html(
        self,
        path: str | PathLike[str] | None = None,
        example: int = 0,
        *,
        classes: Sequence[str] | None = None,
        features: Sequence[str] | None = None,
        image: Any = None,
        tokenizer: Tokenizer | None = None,
        title: str | None = None,
        top: int = 5,
        sources: int = 6,
    ) -> str:
        """One example as an interactive page: a single file, without an address of anywhere, for a browser or a mail.

        An image lies under its map, with patches of any size whose sums stay exact; a row of a table is a waterfall to
        f(x); a text has its words on coloured ground. It can be read without JavaScript, too.

        Args:
            path: where to write it, atomically; None: nowhere.
            example: which of the batch.
            classes: names of the outputs.
            features: names of tabular features.
            image: the picture to show, ``(H, W)`` or ``(H, W, 3)``, values 0-1 or 0-255; default: x, stretched to 0-1.
            tokenizer: of a text.
            title: of the page; default: what is explained.
            top: of a classifier, show the likeliest classes beside the one that was explained, so many in all.
            sources: of an image, so many bias sources can be seen alone; each takes a sweep.

        Returns:
            The page.

        Raises:
            InputError: there is no such example, or the image does not fit.
            MissingExtra: Pillow is not installed, for an image.
            FileError: the folder cannot be written to.
        """
        shown = self.likeliest(top)
        of_source = None if self.several or self.again is None or not sources else self._of_source
        content = content_of(
            shown,
            example,
            title=title,
            classes=classes,
            feature_names=features,
            image=image,
            tokenizer=tokenizer,
            of_source=of_source,
            sources=sources,
        )
        page = html_of(content, __version__)
        if path is not None:
            write_atomically(path, lambda file: file.write_text(page, encoding="utf-8"))
        return page

    @cached_property
    def _of_source(self) -> Callable[[str], "Explanation[Any]"]:
        """With the bias of one source alone, of the whole batch; explained once, whoever asks."""
        assert self.again is not None
        return cache(self.again.of_source)

    @cached_property
    def _beside(self) -> Callable[[int], "Explanation[Any]"]:
        assert self.again is not None
        return cache(partial(self.again.beside, torch.tensor(self.target)))

    def likeliest(self, top: int) -> "Explanation[Any]":
        """The class, or next token, that is explained and the likeliest others of each example, as several targets.

        ``top``: how many in all. Where the model is not at hand, or its output is no row of classes, it is this
        explanation itself.

        Raises:
            SourceError: the model's weights have changed since.
        """
        target = self.target
        known = isinstance(target, list) and bool(target)
        if top < 2 or self.several or self.again is None or self.chance is None or not known:
            return self
        found = self._beside(top).named(self.classes, self.features)
        self._require_same(found.values[:1])
        return found

    def _repr_html_(self) -> str | None:
        """The first example, for a notebook."""
        try:
            return framed(self.html(top=1, sources=0))
        except BiaspropError:  # what cannot be shown so is printed
            return None

    def summary(
        self,
        feature_names: Sequence[str] | None = None,
        examples: int = 3,
        features: int = 5,
        tokenizer: Tokenizer | None = None,
        classes: Sequence[str] | None = None,
    ) -> str:
        """A short readable text: ``f(x) = w.x + b``, the largest features or the tokens, the completeness error.

        Args:
            feature_names: of tabular features.
            examples: how many of the batch.
            features: how many of each, where they are no tokens.
            tokenizer: of a text: says how its tokens are written, which are otherwise given by their ids.
            classes: names of the outputs; default: those that the model itself gives them.
        """
        return summarize(self.named(classes, feature_names), examples, features, tokenizer)

    def top(
        self,
        k: int = 10,
        example: int = 0,
        *,
        features: Sequence[str] | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> list[Received]:
        """What has received most, by the magnitude of its attribution.

        Args:
            k: how many at most.
            example: which of the batch.
            features: names of tabular features.
            tokenizer: of a text: says how its tokens are written, which are otherwise given by their ids.

        Returns:
            Features, patches of about a 28th of an image, or tokens: ``(name, attribution, weight_attribution,
            bias_attribution)``, the largest first.

        Raises:
            InputError: there is no such example, ``k`` is no positive number, or there are several targets.
        """
        if not isinstance(k, int) or k < 1:
            raise InputError(f"k must be a positive whole number, not {k!r}.")
        if self.several:
            raise InputError("The largest are of one target: explanation.for_target(0).top().")
        if not -len(self) <= example < len(self):
            raise InputError(f"There is no example {example}: the explanation has {len(self)}.")
        return largest_received(self.named(features=features), example % len(self), k, tokenizer)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, which ``json.dumps`` takes: lists and numbers, example by example."""
        return plain_values(self)

    def to_pandas(self, features: Sequence[str] | None = None) -> Any:
        """A ``pandas.DataFrame`` with a row for each number of each example.

        Args:
            features: names of tabular features.

        Returns:
            Columns ``example``, ``input``, ``feature``, ``value``, ``weight_attribution``, ``bias_attribution`` and
            ``attribution``.

        Raises:
            InputError: there are several targets.
            MissingExtra: pandas is not installed.
        """
        return frame_of(self.named(features=features))

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        shapes = ", ".join(f"{p.name} {tuple(p.value.shape)}" for p in self.parts)
        return f"Explanation({len(self)} example{'s' * (len(self) != 1)}, {shapes}, rule={self.rule!r})"


def load(path: str | PathLike[str]) -> Explanation[Any]:
    """Read an explanation that `Explanation.save` wrote (without the model).

    Raises:
        FileError: the file is missing, damaged, or not an explanation.
    """
    return read_decomposition(path, Explanation)
