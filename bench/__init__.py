"""Runs benchmark cells, each in a fresh process, and records what was measured."""
