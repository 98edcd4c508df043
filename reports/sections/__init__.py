"""The parts of a report; `reports.content` puts them in order."""
