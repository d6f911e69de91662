"""The registry: every model that was saved, as a version that never changes."""

from cnnkit.registry.audit import Problem
from cnnkit.registry.comparisons import ComparisonFolder, Comparisons
from cnnkit.registry.files import Files
from cnnkit.registry.format.manifest import Manifest, Origin
from cnnkit.registry.notes import Verdict
from cnnkit.registry.records import Entry, Record, Version
from cnnkit.registry.runs import RunFolder, Runs
from cnnkit.registry.store import Registry

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
