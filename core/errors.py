"""Errors of the core: each says what was expected, what came, and what to do."""


class CoreError(ValueError):
    """Base of every error that the core raises on purpose."""

    def __init__(self, expected: str, came: str, do: str) -> None:
        self.expected, self.came, self.do = expected, came, do
        super().__init__(f"expected {expected}; got {came}. {do}")


class NotRepresentable(CoreError):
    """The model holds a structure for which the algorithm has no right gradient."""


class NotCompiled(CoreError):
    """The algorithm was used before `compile_graph`."""


class InvalidArgument(CoreError):
    """A hyperparameter or an input is out of its range."""
