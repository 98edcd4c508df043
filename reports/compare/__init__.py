"""Two sweeps compared: exact quantities first, then time; what cannot be decided is said to be
so.
"""

from reports.compare.both import compare
from reports.compare.result import Comparison, Line

__all__ = ["Comparison", "Line", "compare"]
