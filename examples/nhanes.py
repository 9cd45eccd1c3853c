"""A risk model on a real table: death within 15 years from 18 examination results (NHANES I).

Trains a small MLP (half a minute) and writes what `biasprop explain` needs. In the project's folder::

    python examples/nhanes.py                      # writes nhanes/mlp.safetensors and nhanes/test.csv
    biasprop explain nhanes/test.csv --rows 0:3 --model examples.nhanes:mlp --weights nhanes/mlp.safetensors

The data are found through BIASPROP_DATA (nhanes1_subset_X.csv and nhanes1_subset_y.csv). Standardisation is part of
the network, so the bars are in the table's own units, and the shift that it subtracts, a bias, goes to its own feature.
"""

import csv
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

FEATURES = 18
YEARS = 15


class Standardise(nn.Module):
    """``(x - mean) / std`` as a layer whose statistics are saved with the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, features: int) -> None:
        """Start as the identity."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """Rows of shape ``(N, features)``."""
        return (x - self.mean) / self.std


def mlp() -> nn.Module:
    """The network: log-odds of death within 15 years, ``(N, 18) -> (N, 1)``."""
    hidden = [nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1)]
    return nn.Sequential(Standardise(FEATURES), *hidden)


def read(folder: Path) -> tuple[list[str], Tensor, Tensor]:
    """Column names, rows with missing values replaced by medians, and labels of those whose status is known."""
    with (folder / "nhanes1_subset_X.csv").open(newline="") as file:
        names = next(csv.reader(file))[1:]
    x = np.genfromtxt(folder / "nhanes1_subset_X.csv", delimiter=",", skip_header=1)[:, 1:]
    years = np.genfromtxt(folder / "nhanes1_subset_y.csv", delimiter=",", skip_header=1)[:, 1]
    known = (years > 0) | (years <= -YEARS)  # negative: still alive then
    x = np.where(np.isnan(x), np.nanmedian(x, axis=0), x)
    died = (years > 0) & (years <= YEARS)
    return names, torch.tensor(x[known], dtype=torch.float32), torch.tensor(died[known], dtype=torch.float32)


def auc(score: Tensor, label: Tensor) -> float:
    """Area under the ROC curve: how often a positive scores above a negative."""
    order = score.argsort()
    ranks = torch.empty_like(score)
    ranks[order] = torch.arange(1, len(score) + 1, dtype=score.dtype)
    positives = label.sum()
    return float((ranks[label == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(label) - positives)))


def main(folder: Path = Path("nhanes"), epochs: int = 40) -> float:
    """Train, report the test AUC, and write the weights and the test rows."""
    torch.manual_seed(0)
    data = Path(os.environ.get("BIASPROP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    names, x, y = read(data)
    order = torch.randperm(len(x))
    train, test = order[: len(x) * 3 // 4], order[len(x) * 3 // 4 :]
    model = mlp()
    standardise = next(m for m in model.modules() if isinstance(m, Standardise))
    standardise.mean.copy_(x[train].mean(0))
    standardise.std.copy_(x[train].std(0))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train))].split(128):
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(model(x[batch]).squeeze(1), y[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        area = auc(model.eval()(x[test]).squeeze(1), y[test])
    folder.mkdir(exist_ok=True)
    save_file(model.state_dict(), folder / "mlp.safetensors")
    with (folder / "test.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([f"{v:.6g}" for v in row] for row in x[test].tolist())
    print(f"test AUC {area:.3f} on {len(test)} people; wrote {folder}/mlp.safetensors and {folder}/test.csv")
    return area


if __name__ == "__main__":
    main()
