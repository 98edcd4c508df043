"""Online learning for recurrent and spiking networks, on unmodified brainstate models.

The names are listed in `__init__.pyi`. Each is imported when it is first asked for: processes that
never load jax share `core.errors`.
"""

from importlib import metadata

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

try:
    __version__ = metadata.version("etrace-bench")
except metadata.PackageNotFoundError:  # a checkout on the path
    __version__ = "0+unknown"
