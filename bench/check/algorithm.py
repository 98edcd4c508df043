"""``python -m bench check algo=NAME``: does an algorithm keep the promises that cells build on?

Small smooth networks in float64, where two ways to the same gradient agree to rounding. An
algorithm declares where it equals BPTT by a class attribute ``exact_on``: ``everywhere``, or
``element-wise`` for networks whose states reach themselves element by element only.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

import core
from bench.cell.gradients import cosine_and_error
from bench.cell.program import compilations
from bench.cell.trees import flat
from bench.errors import kind_and_words, quoted
from bench.instantiate import instantiate
from bench.models.gru import GRU
from core.algorithms.windowed import WindowedAlgorithm
from core.errors import EtraceError

N_STEPS, BATCH, N_IN, N_HIDDEN, N_OUT = 6, 3, 2, 4, 3
TOLERANCE = 1e-9
ONES = np.ones(BATCH)
MV = 1e-3  # volts

# What the core's own families promise; a class attribute of a plug-in goes before.
EXACT_ON = (
    (core.TruncatedBPTT, ""),
    (core.BPTT, "everywhere"),
    (core.RTRL, "everywhere"),
    (core.ES_D_RTRL, ""),
    (core.D_RTRL, "element-wise"),
)


class Broken(EtraceError):
    """A promise that is not kept; the text is the reason."""


class Leaky(brainstate.nn.Module):
    """``h = a h + W [x, tanh h]`` with a linear readout of ``tanh h``, h in mV.

    Unless it is ``recurrent``, W reads x alone, and h goes on in its element-wise decay only. With
    ``units`` W is a quantity in volts and h one in millivolts, else both are numbers in mV.
    """

    def __init__(
        self, n_in: int, n_hidden: int, n_out: int, recurrent: bool = True, units: bool = False
    ) -> None:
        super().__init__()
        self.n_hidden, self.recurrent, self.unit = n_hidden, recurrent, u.mV if units else 1.0
        self.linear = brainstate.nn.Linear(n_in + n_hidden * recurrent, n_hidden)
        if units:
            weight = self.linear.weight
            weight.value = jax.tree.map(lambda w: w * MV * u.volt, weight.value)
        self.readout = brainstate.nn.Linear(n_hidden, n_out)

    def init_state(self, batch_size: int | None = None, **_: object) -> None:
        lead = () if batch_size is None else (batch_size,)
        self.h = brainstate.HiddenState(jnp.zeros((*lead, self.n_hidden)) * self.unit)

    def update(self, x: jax.Array) -> jax.Array:
        """One step: ``x`` [B, I] or [I] to logits [B, O] or [O]."""
        own = [jnp.tanh(self.h.value / self.unit)] if self.recurrent else []
        self.h.value = 0.6 * self.h.value + self.linear(jnp.concatenate([x, *own], axis=-1))
        return self.readout(jnp.tanh(self.h.value / self.unit))


DECAYING = partial(Leaky, recurrent=False)


class Subject:
    """The algorithm of a composed ``algo`` group, built anew for every question."""

    def __init__(self, node: Mapping[str, Any]) -> None:
        self.node = node
        rng = np.random.default_rng(0)
        self.xs = jnp.asarray(rng.normal(size=(N_STEPS, BATCH, N_IN)))
        self.ys = jnp.asarray(rng.integers(0, N_OUT, BATCH))
        # The jitted gradient by way of batching. Compiling takes longer than everything else: one
        # program serves all questions it can.
        self.program = cache(lambda batching: _program(self.build(), batching))

    @cached_property
    def network(self) -> Callable[..., Any]:
        """Of most questions: a GRU, or leaky neurons for a rule that is defined on these alone."""
        try:
            core.initialise(self.build(GRU), self.xs[0])
        except core.NotRepresentable:
            return Leaky
        except Exception:
            pass  # each check says what is wrong
        return GRU

    def build(self, network: Callable[..., Any] | None = None, **changes: Any) -> Any:
        """The algorithm around a network with the same weights each time."""
        brainstate.random.seed(0)
        made = (network or self.network)(N_IN, N_HIDDEN, N_OUT)
        return instantiate({**self.node, **changes}, made)

    def gradient(
        self,
        network: Callable[..., Any] | None = None,
        *,
        xs: Any = None,
        of: Any = ONES,
        batching: str = "manual",
        **changes: Any,
    ) -> dict[str, np.ndarray]:
        """Gradients by weight, of the loss of each sample times ``of`` [B]; as of ``build``."""
        usual = network is None and not changes
        program = self.program(batching) if usual else _program(self.build(network, **changes))
        return flat(program(self.xs if xs is None else xs, self.ys, of))

    @property
    def on(self) -> str:
        """What the network of most questions is."""
        return "on a GRU" if self.network is GRU else "on leaky neurons, as it refuses a GRU"

    def bptt(self, network: Callable[..., Any] | None = None) -> dict[str, np.ndarray]:
        """BPTT's gradient of the same batch."""
        return Subject({"_target_": "core.BPTT"}).gradient(network or self.network)


def _program(algo: Any, batching: str = "manual") -> Callable[..., Any]:
    @brainstate.transform.jit
    def step(xs: jax.Array, ys: jax.Array, of: jax.Array) -> Any:
        core.initialise(algo, xs[0], batching=batching)
        return core.gradient(algo, loss_of(of), xs, ys).grads

    return step


def loss_of(weights: Any) -> Callable[[Any, Any], Any]:
    """Cross entropy of logits [B, O] or [O], summed over samples with these weights."""
    entropy = braintools.metric.softmax_cross_entropy_with_integer_labels
    return lambda out, target: (entropy(out, target) * weights).sum()


def shapes(subject: Subject) -> str:
    weights = subject.build().model.states(brainstate.ParamState)
    found, like = subject.gradient(), flat({path: s.value for path, s in weights.items()})
    wanted, got = ({name: v.shape for name, v in of.items()} for of in (like, found))
    if got != wanted:
        raise Broken(f"expected gradients of the weights {wanted}; got {got}")
    bad = [name for name, value in found.items() if not np.isfinite(value).all()]
    if bad:
        raise Broken(f"the gradient of {', '.join(bad)} is not finite")
    return f"{len(found)} gradients, finite"


def batching(subject: Subject) -> str:
    manual = subject.gradient()
    single = subject.program("single")
    parts = [flat(single(subject.xs[:, b], subject.ys[b], ONES[b])) for b in range(BATCH)]
    singles = {name: np.sum([part[name] for part in parts], axis=0) for name in manual}
    by_vmap = _same(subject.gradient(batching="vmap"), manual, "vmap and manual")
    return f"{by_vmap}; {_same(singles, manual, 'singles and manual')}"


def no_leak(subject: Subject) -> str:
    of = np.eye(BATCH)[0]
    other = subject.xs.at[:, 1:].add(1.0)
    for mode in ("manual", "vmap"):
        _same(
            subject.gradient(xs=other, batching=mode, of=of),
            subject.gradient(batching=mode, of=of),
            f"{mode}: a sample's gradient with other samples beside it and without",
        )
    return "a sample's gradient does not see the others"


def window_invariance(subject: Subject) -> str:
    algo = subject.build()
    promised = isinstance(algo, WindowedAlgorithm | core.RTRL) and not truncates(algo)
    takes = "window" in inspect.signature(type(algo).__init__).parameters
    if not (promised and takes) or subject.node.get("credit") == "window":
        return "not promised"
    whole = subject.gradient(window="sequence")
    for window in (1, N_STEPS - 2):
        _same(subject.gradient(window=window), whole, f"window={window} and window=sequence")
    return f"windows of 1, {N_STEPS - 2} and {N_STEPS} steps agree"


def truncates(algo: Any) -> bool:
    """Whether its traces are cut to a rank, once a window."""
    return isinstance(algo, core.D_RTRL) and not algo.past.exact


def exactness(subject: Subject) -> str:
    algo = subject.build()
    families = [where for family, where in EXACT_ON if isinstance(algo, family)]
    declared = getattr(algo, "exact_on", families[0] if families else "")
    if subject.node.get("credit") == "window":
        declared = ""
    ours, truth = subject.gradient(), subject.bptt()
    near, _ = cosine_and_error(ours, truth)
    words = f"cosine {near:.4f} {subject.on}" if near is not None else f"no gradient {subject.on}"
    if declared == "everywhere":
        return f"{_same(ours, truth, f'its gradient and BPTT {subject.on}')}; {words}"
    if declared == "element-wise":
        what = "its gradient and BPTT where recurrence is element-wise"
        return f"{_same(subject.gradient(DECAYING), subject.bptt(DECAYING), what)}; {words}"
    if declared:
        raise Broken(f"exact_on: expected everywhere or element-wise; got {declared!r}")
    return f"{words}; exact nowhere by declaration"


def readout(subject: Subject) -> str:
    found = subject.gradient()
    zero = [n for n, value in found.items() if n.startswith("readout") and not value.any()]
    if zero:
        raise Broken(f"{', '.join(zero)} would never train: its gradient is zero")
    return "every weight of the readout gets a gradient"


def no_recompilation(subject: Subject) -> str:
    step = subject.program("manual")
    jax.block_until_ready(step(subject.xs, subject.ys, ONES))
    again = jax.block_until_ready(subject.xs + 1.0)
    before = compilations()
    jax.block_until_ready(step(again, subject.ys, ONES))
    if found := compilations() - before:
        raise Broken(f"expected none; got {found} on the second call of a jitted step")
    return "the second call of a jitted step compiles nothing"


def units(subject: Subject) -> str:
    without, found = subject.gradient(Leaky), subject.gradient(partial(Leaky, units=True))
    # A loss changes 1000 times as much with a volt as with a millivolt.
    scaled = {name: g * MV if name.startswith("linear") else g for name, g in found.items()}
    return _same(scaled, without, "a network in volts and the same in numbers of millivolts")


def reset(subject: Subject) -> str:
    algo, loss = subject.build(), loss_of(1.0)
    core.initialise(algo, subject.xs[0])
    hidden = algo.model.states(brainstate.HiddenState)
    start = {path: state.value for path, state in hidden.items()}
    core.gradient(algo, loss, 2.0 * subject.xs, subject.ys, fresh=False)
    for path, state in hidden.items():
        state.value = start[path]
    algo.reset_traces()
    after = flat(core.gradient(algo, loss, subject.xs, subject.ys, fresh=False).grads)
    return _same(after, subject.gradient(), "after reset_traces and from new")


CHECKS: tuple[tuple[str, Callable[[Subject], str]], ...] = (
    ("shapes", shapes),
    ("batching equivalence", batching),
    ("no leak between samples", no_leak),
    ("window invariance", window_invariance),
    ("gradient against BPTT", exactness),
    ("readout gradient", readout),
    ("no recompilation", no_recompilation),
    ("units", units),
    ("reset", reset),
)


def run(node: Mapping[str, Any], name: str) -> int:
    """Prints a line for every promise of an ``algo`` group; 0 when all are kept, 1 otherwise."""
    failed = 0
    with jax.enable_x64(True), brainstate.environ.context(precision=64):
        subject = Subject(node)
        with quoted("algo"):
            subject.build()
        for title, check in CHECKS:
            try:
                verdict, words = "ok", check(subject)
            except Broken as reason:
                verdict, words = "FAIL", str(reason)
            except Exception as error:
                # Somebody else's algorithm may raise anything; the other checks still say theirs.
                verdict, words = "FAIL", kind_and_words(error)
                if not isinstance(error, EtraceError):
                    words += f", {_place(error)}"
            failed += verdict == "FAIL"
            print(f"{verdict:4}  {title}: {words}", flush=True)
    print(f"{name}: {len(CHECKS) - failed} of {len(CHECKS)} checks passed")
    return int(failed > 0)


def _place(error: Exception) -> str:
    """The last line outside of the libraries that an error came by."""
    frames = traceback.extract_tb(error.__traceback__)
    last = ([f for f in frames if "site-packages" not in f.filename] or frames)[-1]
    return f"at {Path(last.filename).name}:{last.lineno} in {last.name}"


def _same(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], what: str) -> str:
    _, error = cosine_and_error(ours, theirs)
    if error is None or not error <= TOLERANCE:
        worst = max(sorted(theirs), key=lambda n: float(np.abs(ours[n] - theirs[n]).max()))
        raise Broken(
            f"{what} differ by {error if error is None else format(error, '.1e')} "
            f"(relative), most on {worst}"
        )
    return f"{what} agree to {error:.0e}"
