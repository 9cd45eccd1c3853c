"""Audits: how much of a classifier's predictions is bias, over a labelled data set (the paper's Table 1).

The auditor examines batches, the ledger keeps what is done and the state is its file, findings are the result, and the
picture is drawn from them. Uses `biasprop.attribution`, `biasprop.metrics` for labels, and the colours of
`biasprop.report`.
"""

from .auditor import Audit, audit
from .findings import Findings
from .state import FORMAT
from .terms import TERMS, logits_of, predicted_classes

__all__ = ["FORMAT", "TERMS", "Audit", "Findings", "audit", "logits_of", "predicted_classes"]
