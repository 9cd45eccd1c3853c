"""X-Gradient: integrated gradients of a homogeneous network for the price of one gradient.

For a network of degree k, integrated gradients from the zero baseline are ``x * dF/dx / k`` (Hesse, Schaub-Meyer &
Roth, NeurIPS 2021, Proposition 1; mathematics, section 8). Captum is not imported.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ..attribution import CaptumMethod, as_tuple, check_input, from_captum, visible_to_noise_tunnel
from ..errors import InputError, NotHomogeneous, TargetError
from ..graph import Weights
from ..propagation import chosen_index
from .judgement import Homogeneity, homogeneity

__all__ = ["XGradient"]


class XGradient(CaptumMethod):
    """Axiomatic attributions of a homogeneous network: one forward and one backward pass, with Captum's semantics.

    At the first call for each shape of input the network is checked (`biasprop.homogeneity`, some seconds), and again
    when its weights have changed. In training mode it is checked once, for what training may make of it: a bias that
    starts at zero counts.
    """

    def __init__(self, model: nn.Module, degree: float | None = None, check: bool = True) -> None:
        """An attribution method of ``model``.

        Args:
            model: the network, in eval or (for training with an attribution prior) training mode.
            degree: k; None finds it out.
            check: refuse a network that is not homogeneous of this degree. ``False`` gives ``x * gradient / degree``
                for any network; degree None is then 1.

        Raises:
            InputError: the degree is not positive.
        """
        if degree is not None and not degree > 0:
            raise InputError(f"The degree must be positive, not {degree!r}.")
        self.forward_func = model
        self.degree, self.check = degree, check
        self._weights: tuple[bool, Weights | None] | None = None
        self._reports: dict[Any, Homogeneity] = {}

    def __repr__(self) -> str:
        degree = "found out" if self.degree is None else f"{self.degree:g}"
        return f"XGradient({type(self.forward_func).__name__}, degree {degree})"

    @visible_to_noise_tunnel
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        create_graph: bool = False,
    ) -> Any:
        """``x * dF/dx / k``, like ``inputs``: a tensor for a tensor, a tuple for a tuple.

        Args:
            inputs: of shape ``(N, ...)``.
            target: as in Captum: an int, a tuple, a list or tensor with one per example; None for one output.
            additional_forward_args: passed on, not attributed.
            return_convergence_delta: also return ``sum(attributions) - F(x)``, ``(N,)``.
            create_graph: keep the graph, to train with a loss on the attributions (see `biasprop.sparsity_loss`).

        Raises:
            NotHomogeneous: the network is not homogeneous (and ``check`` is on); the message names what breaks it.
            InputError: an input is not a finite tensor of the model's dtype and device.
            TargetError: the target does not select one number per example.
        """
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        more = as_tuple(additional_forward_args)
        for i, tensor in enumerate(given):
            check_input(tensor, "The input" if len(given) == 1 else f"Input {i}", self.forward_func)
        degree = self._degree(given, more)
        with torch.enable_grad():
            x = tuple(i if create_graph and i.requires_grad else i.detach().requires_grad_() for i in given)
            f = _select(self.forward_func(*x, *more), target, len(x[0]))
            gradients = torch.autograd.grad(
                f.sum(), x, create_graph=create_graph, allow_unused=True, materialize_grads=True
            )
            attributions = tuple(i * g / degree for i, g in zip(x, gradients, strict=True))
        if not create_graph:
            attributions, f = tuple(a.detach() for a in attributions), f.detach()
        result = attributions if isinstance(inputs, tuple) else attributions[0]
        if not return_convergence_delta:
            return result
        return result, torch.stack([a.flatten(1).sum(1) for a in attributions]).sum(0) - f

    def _degree(self, inputs: tuple[Tensor, ...], more: tuple[Any, ...]) -> float:
        if not self.check:
            return self.degree or 1.0
        training = any(module.training for module in self.forward_func.modules())
        weights = training, None if training else Weights(self.forward_func)  # training changes them all the time
        if weights != self._weights:  # new weights are checked anew
            self._weights, self._reports = weights, {}
        shapes = tuple((i.shape[1:], i.dtype) for i in inputs)
        if shapes not in self._reports:
            model = _as_it_may_become(self.forward_func) if training else self.forward_func
            with torch.no_grad():
                self._reports[shapes] = homogeneity(model, tuple(i.detach() for i in inputs), more or None)
        report = self._reports[shapes]
        if not report.homogeneous or report.degree is None or self.degree not in (None, report.degree):
            reason = f"its degree is {report.degree:g}." if report.homogeneous else str(report)
            raise NotHomogeneous(
                f"X-Gradient is exact for homogeneous networks only: {reason}\nRemove what breaks it with "
                "biasprop.remove_bias, use biasprop.BiasBackprop or Captum's IntegratedGradients, or pass check=False."
            )
        if report.degree <= 0:
            raise NotHomogeneous(
                f"The network has degree {report.degree:g}: its integrated gradients have no such form."
            )
        return report.degree


def _as_it_may_become(model: nn.Module) -> nn.Module:
    """A copy in eval mode in which no bias or running mean is zero only because training has just begun."""
    made = copy.deepcopy(model).eval()
    means = [buffer for name, buffer in made.named_buffers() if name.endswith("running_mean")]
    with torch.no_grad():
        for tensor in (*means, *(p for p in made.parameters() if p.requires_grad)):
            if not tensor.any():
                tensor.fill_(0.5)
    return made


def _select(output: Any, target: Any, batch: int) -> Tensor:
    """One number per example, as Captum selects it."""
    if not isinstance(output, Tensor) or output.shape[:1] != (batch,):
        raise TargetError("The model must return one tensor with the examples first.")
    return output[(torch.arange(batch, device=output.device), *chosen_index(output, from_captum(target)))]
