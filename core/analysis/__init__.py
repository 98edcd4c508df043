"""From a model to the graph of its step: which weight feeds which state, and what is cut."""
