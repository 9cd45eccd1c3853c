"""``python -m biasprop.operations`` prints the table of supported operations as Markdown."""

from collections.abc import Iterator

from . import CONSTANT, FAMILIES

__all__ = ["table"]


def table() -> str:
    """The families, what each does, and the ATen operations that belong to it."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Supported operations"
    yield ""
    yield "Generated from the registry by `python -m biasprop.operations`; names are those of `torch.ops.aten`."
    yield ""
    yield "| family | treatment | operations |"
    yield "|---|---|---|"
    for family, names in FAMILIES.items():
        summary = " ".join((family.__doc__ or "").strip().split("\n\n")[0].split()).replace("|", "\\|")
        listed = ", ".join(f"`{name}`" for name in names.split())
        yield f"| `{family.__name__}` | {summary} | {listed} |"
    constant = ", ".join(f"`{name}`" for name in sorted(packet.__name__ for packet in CONSTANT))
    yield f"| constant | Its value does not depend on x, or not to the first order: it counts as bias. | {constant} |"


if __name__ == "__main__":
    print(table(), end="")
