"""Explanations on disk: one safetensors file, tensors and JSON metadata, no pickle."""

from os import PathLike
from typing import Any, TypeVar

from torch import Tensor

from ..errors import CompletenessError, FileError
from ..files import read_tensors, write_tensors
from .completeness import require_complete
from .consistency import require_consistent
from .decomposition import Decomposition
from .part import Part
from .sources import BiasSource
from .targets import TargetAxis
from .tokens import distinct

__all__ = ["FORMAT", "read_decomposition", "write_decomposition"]

FORMAT = "biasprop-explanation-2"

D = TypeVar("D", bound=Decomposition[Any])


def write_decomposition(found: Decomposition[Any], path: str | PathLike[str]) -> None:
    """Write an explanation to ``path``, atomically; tensors have the shapes that the user sees.

    Raises:
        FileError: the folder cannot be written to.
    """
    tensors: dict[str, Tensor] = {
        "output": found.output,
        "unattributed": found.unattributed,
        "withheld": found.withheld,
        "bypassed": found.bypassed,
        "sources": found.sources.amounts,
    }
    for i, part in enumerate(found.parts):
        weight, beta = (found.axis.outward(t, part.batch_dim) for t in (part.weight, part.beta))
        tensors |= {f"{i}.value": part.value, f"{i}.weight": weight, f"{i}.beta": beta}
        if part.handed is not None:
            tensors[f"{i}.handed"] = found.axis.outward(part.handed, part.batch_dim)
    if found.probability is not None:
        tensors["probability"] = found.probability
    texts = distinct(found.ids)
    tensors |= {f"ids.{k}": ids for k, ids in enumerate(texts)}
    header = {
        "names": [p.name for p in found.parts],
        "batch_dims": [p.batch_dim for p in found.parts],
        "inputs": [p.is_input for p in found.parts],
        "single": found.single,
        "sources": [[s.name, s.operation] for s in found.sources],
        "rule": found.rule,
        "temperature": None if found.temperature is None else repr(found.temperature),  # JSON knows no infinity
        "target": found.target,
        "linearization": found.linearization,
        "handover": found.handover,
        "classes": list(found.classes),
        "features": list(found.features),
        "ids": [None if one is None else next(k for k, t in enumerate(texts) if t is one) for one in found.ids],
    }
    write_tensors(path, FORMAT, tensors, header)


def read_decomposition(path: str | PathLike[str], kind: type[D]) -> D:
    """Read what `write_decomposition` wrote, as a decomposition of that kind (without the model).

    Raises:
        FileError: the file is missing, damaged, or not an explanation; or the explanation is not complete.
    """
    header, tensors = read_tensors(path, FORMAT)
    try:
        require_consistent(header, tensors)
        made = _made(header, tensors, kind)
        require_complete(made)
    except CompletenessError as error:
        raise FileError(f"{path} is not a complete biasprop explanation: its parts do not add up.") from error
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise FileError(f"{path} is not a complete biasprop explanation: {why}.") from error
    return made


def _made(header: dict[str, Any], tensors: dict[str, Tensor], kind: type[D]) -> D:
    several = tensors["output"].dim() == 2
    chosen = header["target"] if several else [header["target"]]
    axis = TargetAxis(tuple(_index(one) for one in chosen), several)
    amounts = axis.inward(tensors["sources"])
    table = [BiasSource(name, operation, amounts[..., i]) for i, (name, operation) in enumerate(header["sources"])]
    parts = []
    about = zip(header["names"], header["batch_dims"], header["inputs"], strict=True)
    for i, (name, dim, is_input) in enumerate(about):
        weight, beta = (axis.inward(tensors[f"{i}.{what}"], dim) for what in ("weight", "beta"))
        handed = axis.inward(tensors[f"{i}.handed"], dim) if f"{i}.handed" in tensors else None
        parts.append(Part(name, tensors[f"{i}.value"], weight, beta, dim, is_input, handed=handed))
    temperature = header["temperature"]
    return kind(
        parts=tuple(parts),
        single=header["single"],
        values=axis.inward(tensors["output"]),
        lost=axis.inward(tensors["unattributed"]),
        left_out=axis.inward(tensors["withheld"]),
        past=axis.inward(tensors["bypassed"]),
        chance=axis.inward(tensors["probability"]) if "probability" in tensors else None,
        table=table,
        axis=axis,
        rule=header["rule"],
        temperature=None if temperature is None else float(temperature),
        linearization=header.get("linearization", "tangent"),
        handover=header.get("handover", ""),
        classes=tuple(header.get("classes", ())),
        features=tuple(header.get("features", ())),
        ids=tuple(None if k is None else tensors[f"ids.{k}"] for k in header.get("ids", [])),
    )


def _index(saved: Any) -> Any:
    """JSON knows no tuples: an index of several dimensions comes back as a list."""
    return [tuple(t) if isinstance(t, list) else t for t in saved] if isinstance(saved, list) else saved
