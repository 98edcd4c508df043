"""A step as a list of equations, and what passes through them from element to element."""
