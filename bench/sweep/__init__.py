"""What runs the cells of a sweep and keeps their records. Imports no jax."""
