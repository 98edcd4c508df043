"""Two sweeps compared: exact quantities first, then time; what cannot be decided is said to be
so.
"""

from reports.comparison.compare import compare
from reports.comparison.result import Comparison, Line

__all__ = ["Comparison", "Line", "compare"]
