"""The texts in what the user gives, of which a language model's next token is explained."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..graph import Graph, Node
from ..propagation import Texts
from .inputs import Given

__all__ = ["texts_of"]


def texts_of(given: Given, graph: Graph, parameters: Mapping[Node, Tensor]) -> Texts:
    """Where each text ends, by its length and its vocabulary; of two that agree in these that of the decoder."""
    named = dict(zip(given.names, (*given.inputs, *given.extras), strict=bool(given.names)))
    found: dict[tuple[int, ...], Tensor] = {}
    for node, i in zip(graph.inputs, graph.given, strict=False):
        ids, table = given.inputs[i], parameters.get(node.args[0]) if node.args else None
        if given.floating[i] or ids.dim() < 2 or table is None:
            continue
        name = given.names[i] if given.names else "input_ids"
        mask = named.get(name.removesuffix("input_ids") + "attention_mask")
        found[ids.shape[-1], len(table)] = _ends(ids, mask if isinstance(mask, Tensor) else None)
    return found


def _ends(ids: Tensor, mask: Tensor | None) -> Tensor:
    """The position of each example's last token, ``(N,)``."""
    if mask is None or mask.shape != ids.shape:
        return torch.full((len(ids),), ids.shape[-1] - 1, device=ids.device)
    places = torch.arange(ids.shape[-1], device=ids.device)
    return torch.where(mask != 0, places, -1).amax(-1).clamp_min(0)
