"""The layer and neuron names of the tutorials: brainstate's and brainpy.state's own parts.

Nothing here is special to the core, which finds operations in any model by itself.
"""

from braintools.init import KaimingNormal, ZeroInit  # noqa: F401
