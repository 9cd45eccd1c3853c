"""Whole data sets: every example explained, into a folder of Parquet files, here or on Ray; and what they say together.

A worker explains blocks of a source, a writer keeps them in a folder, the manifest says what the folder is of. Uses
`biasprop.attribution`, `biasprop.auditing` for its terms, `biasprop.engines` and `biasprop.loading`.
"""

from .attributions import Attributions
from .columns import Keeping
from .job import Job, attribute
from .summary import Summary, summarize
from .worker import Asked, Model, Network, Worker

__all__ = ["Asked", "Attributions", "Job", "Keeping", "Model", "Network", "Summary", "Worker", "attribute", "summarize"]
