"""Whether an installed biasprop is whole: run by the Python of a clean environment, outside the repository.

    make wheel

builds the wheel from the source distribution, installs it with nothing but what it asks for, and runs this.
"""

import sys
from importlib.metadata import requires, version
from importlib.resources import files
from pathlib import Path


def main() -> None:
    """Explain something, and look for what is no Python file."""
    import torch

    import biasprop

    place = Path(biasprop.__file__).parent
    assert "site-packages" in place.parts, f"this is not the installed biasprop, but {place}"
    assert version("biasprop") == biasprop.__version__
    assert (files("biasprop") / "py.typed").is_file(), "py.typed is missing: type checkers would not look at it"
    optional = {"matplotlib", "PIL", "typer", "rich", "pyarrow", "ray", "transformers", "torchvision", "pandas"}
    found = optional & set(sys.modules)
    assert not found, f"importing biasprop imported {found}"
    needed = {line.partition(">")[0] for line in requires("biasprop") or () if "extra ==" not in line}
    assert needed == {"torch", "numpy", "numba", "safetensors"}, needed

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    explanation = biasprop.explain(model, torch.randn(3, 4))
    assert float(explanation.completeness_error.max()) < 1e-5
    page = explanation.html()  # with its style and its script
    assert "<style>" in page
    assert "getElementById" in page
    print(explanation)
    print(f"biasprop {version('biasprop')} is whole")


if __name__ == "__main__":
    main()
