"""The main line in one call: `explain`, and `explainer` for many calls."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..modes import DEFAULT, Linearization
from ..operations import Operations
from ..propagation import SourceFilter, Target, Targets
from ..results.targets import X
from .explanation import Explanation
from .main_line import MEMORY_BUDGET, Check, Explainer
from .request import Rules

__all__ = ["explain", "explainer"]


def explain(
    model: nn.Module,
    x: X,
    target: Target = "predicted",
    rule: Rules = "bias1",
    temperature: float = 1.0,
    *,
    targets: Targets = None,
    additional_forward_args: Any = None,
    sources: SourceFilter = None,
    zero_others: bool = False,
    at: str | Sequence[str] | None = None,
    handover: str | Sequence[str] | None = None,
    linearization: Linearization = DEFAULT,
    operations: Operations | None = None,
    memory_budget: int = MEMORY_BUDGET,
    compiled: bool = True,
    check: Check = "always",
) -> Explanation[X]:
    """Explain a prediction exactly: ``f(x) = sum(w * x) + sum(beta)``, with ``beta`` the bias of each input feature.

    The one-call form of `Explainer`: captures the model (0.5 to 10 s for an ImageNet network) and explains ``x``.

    Args:
        model: any ``torch.nn.Module`` in eval mode; nothing is left on it.
        x: input, or a tuple of inputs, of shape ``(N, ...)`` and the model's floating dtype and device; token ids; or a
            mapping of keyword arguments, as a tokenizer returns. Ids are explained at their embeddings.
        target: which number of the output: ``"predicted"`` (largest of ``(N, C)``; of a language model the next token),
            an int, a tuple for the trailing dimensions, an index per example, or a callable ``output -> (N,)``.
        rule: ``"bias1"`` (compensation), ``"bias2"`` (equal share), ``"bias3"`` (positive share), or a
            `biasprop.rules.Rule` (Eq. 15-20 of the paper). A pair, or ``"bias1/bias3"``: above and below a hand-over.
        temperature: T of options 1 and 2, in units of the components; > 0. Of a pair, that of the first.
        targets: instead of ``target``, several in one sweep: a list of targets, an ``(N, J)`` tensor of indices (e.g.
            ``logits.topk(5).indices``), or ``"all"`` outputs. The results gain a dimension of J after the batch.
        additional_forward_args: passed on to the model and not attributed; what they add counts as bias.
        sources: attribute these bias sources alone: names, ``fnmatch`` patterns, or a predicate ``(name, operation) ->
            bool``; the rest is ``withheld``. Maps of disjoint sets add up.
        zero_others: the sources left out count as zero in the sign of option 1, too: their maps no longer add up.
        at: attribute to these hidden tensors instead of to the inputs; see `Explanation.at`.
        handover: a tensor below which alpha distributes all of the attribution (mathematics, section 11); ``"auto"``:
            the deepest of a convolutional stack that is laid out like the input, if any; of several, their mean.
        linearization: what the linear model of a smooth operation is, ``"frozen"`` (what only modulates is held),
            ``"tangent"`` (w is the gradient), ``"half"``, or a mapping from operations or module paths to these; all
            are complete, and the same on piecewise-linear networks (mathematics, section 10).
        operations: families of further ones, ``{torch.ops.ns.name: family}``; see `biasprop.operations`.
        memory_budget: bytes of temporaries beyond what the gradient needs.
        compiled: use compiled kernels where there are any, instead of plain PyTorch.
        check: compare with the model itself (one forward pass): ``"always"``, ``"once"`` for each shape of input and
            state of the weights, or ``"never"``. A gradient that autograd makes different is a warning.

    Returns:
        The `Explanation`. Half-precision models are explained in float32.

    Raises:
        BiaspropError: a member of the family, saying what is wrong, where, and what to do.
    """
    made = Explainer(model, linearization, operations, memory_budget, compiled, check)
    return made(
        x,
        target,
        rule,
        temperature,
        targets=targets,
        additional_forward_args=additional_forward_args,
        sources=sources,
        zero_others=zero_others,
        at=at,
        handover=handover,
    )


def explainer(
    model: nn.Module,
    example: Tensor | tuple[Tensor, ...],
    additional_forward_args: Any = None,
    *,
    linearization: Linearization = DEFAULT,
    operations: Operations | None = None,
    memory_budget: int = MEMORY_BUDGET,
    compiled: bool = True,
    check: Check = "always",
) -> "Explainer":
    """An `Explainer` that has captured ``model`` for inputs like ``example`` and is called many times.

    Raises:
        CaptureError: the model is in training mode or cannot be captured.
    """
    made = Explainer(model, linearization, operations, memory_budget, compiled, check)
    made.graph(made.check(example, additional_forward_args))
    return made
