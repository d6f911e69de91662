"""Comparisons: several configurations are trained with several seeds each, and ranked."""

from cnnkit.comparison.compare import compare, go_on
from cnnkit.comparison.pictures import draw_comparison
from cnnkit.comparison.progress import ComparisonProgress
from cnnkit.comparison.result import Comparison, Row, RunResult

__all__ = ["Comparison", "ComparisonProgress", "Row", "RunResult", "compare", "draw_comparison", "go_on"]
