"""Random small models, each algorithm against a dense reference: `python -m tests.core.fuzz`."""
