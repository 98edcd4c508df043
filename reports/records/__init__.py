"""Records of sweeps: reading them, their columns, and what tells cells apart."""

from reports.records.read import SCHEMA, Record, Sweeps, read_sweeps
from reports.records.table import frame, load

__all__ = ["SCHEMA", "Record", "Sweeps", "frame", "load", "read_sweeps"]
