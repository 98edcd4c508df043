"""Facts and verdicts, as pure functions of a table of records: no file, no clock, no words."""

from reports.judge.facts import Answer, Facts, Learned, Setting, Way, facts
from reports.judge.rows import rows

__all__ = ["Answer", "Facts", "Learned", "Setting", "Way", "facts", "rows"]
