"""Sequences and streams of steps, and the loss of each."""
