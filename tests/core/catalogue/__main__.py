"""The whole catalogue, or a part of it: see the package."""

import os
import sys
import time
import warnings

os.environ.setdefault("JAX_PLATFORMS", "cpu")
warnings.filterwarnings("ignore")
import brainstate  # noqa: E402
import brainunit as u  # noqa: E402
import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)
brainstate.environ.set(precision=64, dt=1.0 * u.ms)
from .check import ENTRIES, PAGE, page, verdict  # noqa: E402

words = [a for a in sys.argv[1:] if not a.startswith("--")]
found = {}
for entry in ENTRIES:
    if all(w in f"{entry.family}: {entry.name}" for w in words):
        start = time.process_time()
        try:
            found[entry] = says = verdict(entry)
        except Exception as error:
            found[entry] = says = ("WRONG", f"{type(error).__name__}: {str(error)[:300]}")
        took = time.process_time() - start
        print(f"{says[0]:8} {took:4.1f} s  {entry.family}: {entry.name}  {says[1]}", flush=True)
wrong = [entry for entry, (kind, _) in found.items() if kind == "WRONG"]
if "--write" in sys.argv and not wrong and not words:
    PAGE.write_text(page({e: text for e, (_, text) in found.items()}))
sys.exit(bool(wrong))
