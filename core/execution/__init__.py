"""Steps of a graph, run forward and linearised over a window."""
