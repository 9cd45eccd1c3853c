"""Audits: how much of a classifier's predictions is bias, over a labelled data set (the paper's Table 1).

The auditor examines batches, here or by the workers of an engine; entries of them add up exactly, the ledger keeps
them and the state is its file; findings are the result, and the picture is drawn from them. Uses
`biasprop.attribution`, `biasprop.engines`, `biasprop.loading`, `biasprop.metrics` for labels, and the colours of
`biasprop.report`.
"""

from .auditor import Audit, audit, audit_source
from .entry import Entry
from .findings import Findings, wilson
from .state import FORMAT
from .terms import TERMS, logits_of, predicted_classes

__all__ = [
    "FORMAT",
    "TERMS",
    "Audit",
    "Entry",
    "Findings",
    "audit",
    "audit_source",
    "logits_of",
    "predicted_classes",
    "wilson",
]
