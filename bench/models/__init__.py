"""Networks that can be trained: one file per model."""
