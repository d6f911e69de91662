"""Comparisons: several configurations are trained with several seeds each, and ranked."""

from cnnkit.comparison.compare import compare, resume_comparison
from cnnkit.comparison.comparison_pictures import draw_comparison, draw_sweep
from cnnkit.comparison.comparison_progress import ComparisonProgress
from cnnkit.comparison.result import Comparison, Row, RunResult

__all__ = [
    "Comparison",
    "ComparisonProgress",
    "Row",
    "RunResult",
    "compare",
    "draw_comparison",
    "draw_sweep",
    "resume_comparison",
]
