"""Implementations of the algorithms: one file per library."""
