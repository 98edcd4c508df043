"""Data to train on: one file per task."""
