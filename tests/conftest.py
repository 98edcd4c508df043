"""What every test shares: JAX on the CPU, compiled anew.

Set before any test module imports jax, because jax reads these once.
"""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# A cached executable would hide what a test says about compilation.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
