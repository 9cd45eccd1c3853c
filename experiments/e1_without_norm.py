"""E1 again, on VGG-11 without batch norm: the paper does not say whether its networks have any."""

from dataclasses import replace
from typing import Any

from . import e1_table1
from .study import Experiment
from .subjects import PLAIN_CIFAR, PLAIN_FASHION

__all__ = ["EXPERIMENT"]


def report(figures: dict[str, Any]) -> str:
    """The table of E1, and which of the two kinds of network is nearer to the paper's."""
    lines = [*e1_table1.table(figures), "", *e1_table1.origins(figures), ""]
    for title, row in figures["networks"].items():
        paper = e1_table1.PAPER.get(row["data"])
        if row["bias"] and paper is not None:
            found = next(iter(row["audits"].values()))["accuracy"]
            lines.append(
                f"- {title}: w.x alone {100 * found['w.x alone']:.1f} (paper {paper[2]}), b alone "
                f"{100 * found['b alone']:.1f} (paper {paper[3]}), with the input counted from its mean colour."
            )
    return "\n".join(lines)


EXPERIMENT = Experiment(
    title="The same without batch norm (BBp paper, Table 1)",
    config=replace(e1_table1.Config(), networks=(PLAIN_FASHION, PLAIN_CIFAR), variants=(), checkpoints=()),
    smoke=replace(e1_table1.EXPERIMENT.smoke, networks=(PLAIN_FASHION,), checkpoints=()),
    run=e1_table1.run,
    report=report,
)
