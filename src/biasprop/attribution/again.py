"""An explanation asked for more: the same inputs and settings, at hidden tensors, of a source, of more targets."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .request import Request

__all__ = ["Again"]


@dataclass(frozen=True)
class Again:
    """What an explanation keeps of how it was made.

    Attributes:
        explained: explains a request, at hidden tensors or at the inputs; gives an `Explanation`.
        outputs: what its target is chosen from, ``(N, classes)``.
        request: what was asked.
    """

    explained: Callable[..., Any]
    outputs: Callable[[Request], Tensor]
    request: Request

    def at(self, *names: str) -> Any:
        """At hidden tensors."""
        return self.explained(self.request, *names)

    def of_source(self, name: str) -> Any:
        """With the bias of one source alone."""
        return self.explained(replace(self.request, sources=[name]))

    def beside(self, chosen: Tensor, count: int) -> Any:
        """Of the classes ``chosen``, and of the likeliest others, ``count`` in all.

        ``chosen``: ``(N,)``, or ``(N, 2)``: of a language model the last position, and the next token.
        """
        logits = self.outputs(self.request).detach()
        indices = chosen.reshape(len(chosen), -1).to(logits.device)
        where, first = indices[:, :-1], indices[:, -1:]
        logits = logits[(torch.arange(len(logits), device=logits.device), *where.T)]
        others = logits.scatter(1, first, float("-inf")).topk(min(count, logits.shape[1]) - 1).indices
        targets = torch.cat([first, others], 1)
        return self.explained(replace(self.request, target="predicted", targets=targets))
