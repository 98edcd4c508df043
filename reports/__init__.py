"""Tables, plots and verdicts from record files; reads nothing else."""

from reports.errors import InputError
from reports.records.table import load

__all__ = ["InputError", "load"]
