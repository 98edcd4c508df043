"""Conformance suites: ``python -m bench check``."""
