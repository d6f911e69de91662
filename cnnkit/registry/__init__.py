"""The registry: every model that was saved, as a version that never changes."""

from cnnkit.registry.audit import Problem
from cnnkit.registry.files import Files
from cnnkit.registry.format.manifest import Manifest, Origin
from cnnkit.registry.notes import Verdict
from cnnkit.registry.records import Entry, Record, Version
from cnnkit.registry.store import Registry
from cnnkit.registry.unfinished_comparisons import ComparisonFolder, Comparisons
from cnnkit.registry.unfinished_runs import RunFolder, Runs

__all__ = [
    "ComparisonFolder",
    "Comparisons",
    "Entry",
    "Files",
    "Manifest",
    "Origin",
    "Problem",
    "Record",
    "Registry",
    "RunFolder",
    "Runs",
    "Verdict",
    "Version",
]
