"""``python -m biasprop.operations`` prints the table of supported operations as Markdown."""

from collections.abc import Iterator

from . import FAMILIES
from .composite import OURS, TORCHS

__all__ = ["table"]


def table() -> str:
    """The families, what each does, how it scales, and the ATen operations that belong to it."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Supported operations"
    yield ""
    yield "Generated from the families by `python -m biasprop.operations`; names are those of `torch.ops.aten`."
    yield "*Degree* is how the result scales when the inputs are multiplied by a positive number: inputs have degree 1,"
    yield "constants 0, and what has none breaks homogeneity."
    yield ""
    yield "| family | treatment | degree | operations |"
    yield "|---|---|---|---|"
    rows: dict[tuple[str, str, str], list[str]] = {}
    for family in FAMILIES:
        names = [*family.names.split(), *(function.__name__ for function in family.others)]
        rows.setdefault((family.name, family.treatment, family.scaling), []).extend(names)
    for (name, treatment, scaling), names in rows.items():
        listed = ", ".join(f"`{operation}`" for operation in names)
        yield f"| `{name}` | {treatment} | {scaling} | {listed} |".replace("|x|", "\\|x\\|")
    yield ""
    yield "## Taken apart"
    yield ""
    yield "Into operations of the table above, when a model is captured (`operations/composite.py`)."
    yield ""
    yield "| operations | into |"
    yield "|---|---|"
    parts: dict[str, list[str]] = {}
    for overload, made in OURS.items():
        parts.setdefault(" ".join((made.__doc__ or "").split()), []).append(overload.removesuffix(".default"))
    parts["as PyTorch itself says"] = [overload.removesuffix(".default") for overload in TORCHS]
    for what, names in parts.items():
        yield f"| {', '.join(f'`{name}`' for name in names)} | {what} |"


if __name__ == "__main__":
    print(table(), end="")
