"""What can be swept: one thin YAML per object, composed by Hydra (package data of the harness)."""
