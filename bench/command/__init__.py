"""What a person starts: the command line, its composition and checks. Imports no jax."""
