"""One algorithm a file; each file holds its own equations."""
