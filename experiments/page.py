"""The results page: every figure on it is read from the results."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .study import Experiment

__all__ = ["page_of"]

HEAD = """# Both papers, redone

The tables and figures of *Bias Also Matters* (Wang, Zhou & Bilmes, ICML 2019; "BBp") and *Fast Axiomatic Attribution
for Neural Networks* (Hesse, Schaub-Meyer & Roth, NeurIPS 2021; "X-DNN") as far as real data reaches here, ours beside
theirs. Written by `python -m experiments page` from the JSON files in `results/`: the figures are read from them, the
paragraphs on what differs and why are ours.

<!-- not run: tests/test_experiments.py runs them, small -->
```sh
python -m experiments run e4          # one of them; `all` for all; trains what it needs, goes on where it stopped
python -m experiments run e4 --smoke --results /tmp/smoke --runs /tmp/smoke   # in seconds, to see that it runs
python -m experiments page            # this page
```

Data are found through `BIASPROP_DATA`. Trainings keep a checkpoint per epoch in `runs/`; two runs with one seed give
the same figures on one machine with one number of threads. `--config FILE.json` replaces settings, e.g. networks by
checkpoints of your own:

{config}
"""

CONFIG = """```json
{"networks": [{"model": "torchvision:alexnet", "weights": "alexnet.safetensors", "images": "imagenet-val"}]}
```"""


def page_of(found: Mapping[str, tuple[Experiment[Any], dict[str, Any]]], results: Path, page: Path) -> str:
    """Markdown of all results, with links relative to the page."""
    sections = [HEAD.format(config=CONFIG).strip()]
    sections += [f"- [{experiment.title}](#{name})" for name, (experiment, _) in found.items()]
    for name, (experiment, made) in found.items():
        pictures = sorted(results.glob(f"{name}-*.png"))
        threads = f"torch {made['torch']}, {made['threads']} thread{'s' * (made['threads'] != 1)}, seed {made['seed']}"
        sections += [
            f'<a id="{name}"></a>\n\n## {experiment.title}',
            f"**Command.** `python -m experiments run {name}` ({threads}).",
            experiment.report(made["figures"]),
            *(f"![{_words(p)}]({os.path.relpath(p, page.parent)})" for p in pictures),
            *_photographs(name, made["photographs"]),
        ]
    listed = "\n\n".join(sections)
    return listed.replace("\n\n- [", "\n- [") + "\n"


def _photographs(name: str, pictures: list[str]) -> list[str]:
    """What the command draws beside these, of images whose terms do not allow to pass them on."""
    files = ", ".join(f"`results/photo-{name}-{picture}.png`" for picture in pictures)
    return [f"Drawn by the command, but not in the repository because they show photographs: {files}."] if files else []


def _words(picture: Path) -> str:
    return picture.stem.replace("-", " ").replace("_", " ")
