"""The guide for contributors: each of its three differences applies to the sources, and does what it says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DIFFERENCES = re.findall(r"```diff\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), re.DOTALL)

OPERATION = """
import torch, biasprop
from torch import nn

class Inverse(nn.Module):
    def forward(self, z):
        return torch.erfinv(z / 100)

model = nn.Sequential(nn.Linear(4, 4), Inverse(), nn.Linear(4, 2)).double().eval()
x = torch.randn(2, 4).double()
explanation = biasprop.explain(model, x, 0)
assert explanation.completeness_error.max() < 1e-12
assert "1.erfinv" in explanation.sources.names
reasons = {breaker.operation: breaker.reason for breaker in biasprop.homogeneity(model, x).breakers}
assert "no degree" in reasons["erfinv"], reasons
"""

RULE = """
import torch, biasprop
from torch import nn
from biasprop.rules import shares, form_of, make_rule

model = nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 2)).eval()
x = torch.randn(3, 30)
compiled = biasprop.explain(model, x, 0, rule="bias4", temperature=0.5)
streaming = biasprop.explain(model.double(), x.double(), 0, rule="bias4", temperature=0.5)
difference = compiled.bias_attribution - streaming.bias_attribution
assert difference.abs().sum() <= 1e-5 * streaming.bias_attribution.abs().sum()
assert (compiled.rule, compiled.temperature) == ("bias4", 0.5)
rule, m = make_rule("bias4"), torch.tensor([[1.0, -2.0, 3.0]])
torch.testing.assert_close(rule.alpha(m, torch.tensor([0.5])), m.softmax(1))
try:
    make_rule("bias5")
except biasprop.RuleError as error:
    assert "'bias4' (agreement)" in str(error), error
"""

COMMAND = """
import sys
from biasprop.cli import main

sys.argv = ["biasprop", "parameters", "--model", "toys:mlp"]
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "script", "printed"),
    [
        ("operations/elementwise.py", OPERATION, ""),
        ("rules/built_in.py", RULE, ""),
        ("cli/commands/parameters.py", COMMAND, "21 parameters, 5 of them biases"),
    ],
)
def test_the_difference_applies_and_does_what_it_says(which, script, printed, tmp_path):
    (difference,) = [d for d in DIFFERENCES if f"+++ b/src/biasprop/{which}" in d]
    assert difference.count("\n+++ b/") == 1, "one place"
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {"GIT_CEILING_DIRECTORIES": "/"}
    done = subprocess.run(
        ["git", "apply", "--recount", "-"],
        input=difference,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"docs/extending.md is not up to date: {done.stderr}"
    paths = os.pathsep.join([str(tmp_path / "src"), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=environment | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert printed in done.stdout


def test_there_are_three_differences():
    assert len(DIFFERENCES) == 3
