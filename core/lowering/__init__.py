"""Write a step as products and element-wise operations, before it is analysed.

The core knows one kind of operation, y = x W. A lookup, a convolution, a product in a loop or in a
branch, a sparse matrix and other libraries' own primitives are such operations spelled in another
way. Each kind has a rule that spells it out; values and derivatives stay those of the equation.
What no rule takes stays as it is, and is refused by `core.analysis.build` if it lies on a path into
a state. A step whose paths into states need none of it (an embedding or a convolution in front of a
recurrent layer) stays as it is, and as fast.
"""

# Each registers its rules.
from core.lowering import control_flow, foreign, products  # noqa: F401
from core.lowering.lowered import is_product, lowered

__all__ = ["is_product", "lowered"]
