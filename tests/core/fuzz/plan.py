"""The ways in which a random model is run: algorithm, batching, masks, restarts, drivers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import brainstate
import jax.numpy as jnp
import numpy as np

from .description import Net, draw
from .program import calls, text
from .reference import Rule

__all__ = ["RATE", "Plan", "data_of", "dropout_of", "plans", "program", "resets", "rule_plans"]

RATE = 0.03  # of learning, where parameters are updated on the way


@dataclass(frozen=True)
class Plan:
    """What is run: an algorithm as text, with its rule; how it is batched; how it is driven.

    driver: gradient, train, steps (a call for every step) or windows (MultiStepData).
    """

    algorithm: str
    rule: Rule
    batching: str = "manual"
    driver: str = "gradient"
    update_every: int = 0
    mean: bool = False
    mask: Any = None  # [T] or [T, B], as tuples
    reset: bool = False
    padding: bool = False  # what is masked out is not a number
    fit: bool = False  # dropout is on

    def __str__(self) -> str:
        drive = f"{self.driver} every {self.update_every}" if self.update_every else self.driver
        options = [name for name in ("mean", "reset", "padding", "fit") if getattr(self, name)]
        mask = [f"mask {self.mask}"] if self.mask else []
        return ", ".join([self.algorithm, self.batching, drive, *mask, *options])


def plans(net: Net, seed: int, count: int = 2) -> Iterator[Plan]:
    """A few of the ways in which a model can be run, different ones for every seed."""
    rng = np.random.default_rng([13, seed])

    def pick(options: Any) -> Any:
        return options[int(rng.integers(len(options)))]

    T = net.n_steps
    window = pick([1, 2, 3, T, "auto", "sequence"])
    k = pick([1, 2, 3])
    a_x, a_f = (round(float(a), 2) for a in rng.uniform(0.2, 0.95, 2))
    if rng.random() < 0.5:
        a_x = a_f
    decay = f"({a_x}, {a_f})" if a_x != a_f else f"{a_f}"
    full = pick(
        [
            ("core.BPTT(net)", Rule("full")),
            (f"core.CheckpointedBPTT(net, segment={pick([1, 2, 3, repr('auto')])})", Rule("full")),
            (f"core.TruncatedBPTT(net, window={k})", Rule("full", k)),
            (f"core.RTRL(net, window={pick([1, 2, repr('sequence')])})", Rule("influence")),
        ]
    )
    trace = (f"core.D_RTRL(net, window={window!r})", Rule("trace"))
    decayed = (f"core.ES_D_RTRL(net, {decay}, window={window!r})", Rule("decay", 0, (a_x, a_f)))
    other = pick(
        [
            (f"core.D_RTRL(net, window={k}, credit='window')", Rule("window", k)),
            (f"core.ES_D_RTRL(net, 60, window={k})", Rule("trace")),
        ]
    )
    every = [trace, decayed, full, other]
    first = [trace, pick([trace, decayed, decayed])][seed % 2]
    others = [p for p in every if p is not first]
    for algorithm, rule in [first, *(others[int(i)] for i in rng.permutation(3))][:count]:
        plan = Plan(algorithm, rule, pick(["manual", "vmap", "single"]))
        yield varied(net, plan, rng, pick)


def rule_plans(net: Net, seed: int, count: int = 2) -> Iterator[Plan]:
    """As `plans`, of the rules beside D-RTRL."""
    rng = np.random.default_rng([14, seed])

    def pick(options: Any) -> Any:
        return options[int(rng.integers(len(options)))]

    window = pick([1, 2, 3, net.n_steps, "auto", "sequence"])
    random = bool(rng.random() < 0.4)
    kind, n = ("random" if random else "symmetric"), pick([1, 1, 2, 3])
    options = f"window={window!r}, feedback={kind!r}"
    every = [
        (f"core.EProp(net, {options})", Rule("e_prop", random=random)),
        (f"core.OTTT(net, {options})", Rule("ottt", random=random)),
        (f"core.OTPE(net, {options})", Rule("otpe", random=random)),
        (f"core.SnAp(net, {n}, {options})", Rule("snap", n=n, random=random)),
        ("core.UORO(net)", Rule("uoro")),
        (f"core.D_RTRL(net, window={window!r}, feedback='random')", Rule("trace", random=True)),
        ("core.Immediate(net)", Rule("full", 1)),
    ]
    first = seed // 2 % (3 if net.integrates else len(every))
    order = [first, *(int(i) for i in rng.permutation(len(every)) if i != first)]
    for k in order[:count]:
        yield varied(net, Plan(*every[k], pick(["manual", "vmap", "single"])), rng, pick)


def varied(net: Net, plan: Plan, rng: Any, pick: Any) -> Plan:
    """Some runs have masks, samples that start anew, updates on the way, or other drivers."""
    T, way = net.n_steps, rng.random()
    if plan.batching != "vmap" and rng.random() < 0.5:
        plan = replace(plan, fit=True)
    if plan.rule.kind != "window" and rng.random() < 0.2:
        plan = replace(plan, reset=True)
    if rng.random() < 0.15:
        shape = (T,) if plan.batching == "single" or rng.random() < 0.5 else (T, net.batch)
        mask = rng.integers(0, 3, shape) / 2
        mask[0] = 1.0
        nested = tuple(map(tuple, mask.tolist())) if mask.ndim == 2 else tuple(mask.tolist())
        return replace(
            plan, mask=nested, mean=bool(rng.random() < 0.5), padding=bool(rng.random() < 0.5)
        )
    if plan.rule.kind in ("full", "window") or plan.rule.window:
        return plan
    if way < 0.2 and not any(p.unit for p in net.params):
        return replace(plan, driver="train", update_every=pick([1, 2, 3]))
    if way < 0.3 and plan.batching != "vmap" and not plan.reset and "rank" not in plan.algorithm:
        of_states = any(kind != "weight" for kind, _, _ in net.loss.penalties)
        size = 1 if of_states else pick([1, 2])  # after a window states are those of its last step
        return replace(plan, driver="steps" if size == 1 else "windows", update_every=size)
    return plan


def resets(net: Net, batch: int) -> np.ndarray:
    return draw(f"reset{net.seed}", net.n_steps, net.batch)[:, :batch] > 0.8


def data_of(net: Net, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """What the reference is given: zeros in place of padding."""
    xs, ys = net.data()
    if plan.padding:
        xs[np.asarray(plan.mask) == 0] = 0
    return (xs[:, :1], ys[:, :1]) if plan.batching == "single" else (xs, ys)


def dropout_of(net: Net, plan: Plan) -> list[dict[str, Any]] | None:
    """The factors that brainstate's own layer draws, by step and line."""
    names = [line.name for call in calls(net) for line in call if line.kind == "dropout"]
    if not plan.fit or not names:
        return None
    layer, widths = brainstate.nn.Dropout(0.5), net.widths
    lead = () if plan.batching == "single" else (net.batch,)
    brainstate.random.seed(net.seed)
    with brainstate.environ.context(fit=True):
        return [
            {
                k: np.asarray(layer(jnp.ones((*lead, widths[k])))).reshape(-1, widths[k])
                for k in names
            }
            for _ in range(net.n_steps)
        ]


def program(net: Net, plan: Plan) -> str:
    """A program that defines `run()`: gradients, losses, outputs and parameters."""
    ys = net.data()[1]
    lines = [
        "import core",
        "jax.config.update('jax_enable_x64', True)",
        "brainstate.environ.set(precision=64, dt=1.0 * u.ms)",
        f"xs = draw('x{net.seed}', {net.n_steps}, {net.batch}, {net.n_in})",
    ]
    if net.loss.kind == "classes":
        lines.append(f"ys = np.array({ys.tolist()})")
    else:
        lines.append(f"ys = draw('y{net.seed}', {net.n_steps}, {net.batch}, {net.widths[net.out]})")
    if plan.batching == "single":
        lines.append("xs, ys = xs[:, 0], ys[:, 0]")
    options = ["per_step_targets=True"]
    if plan.mask is not None:
        lines.append(f"mask = np.array({plan.mask})")
        options.append("mask=mask")
    if plan.padding:
        lines.append("xs[mask == 0] = np.nan")
        if net.loss.kind != "classes":
            lines.append("ys[mask == 0] = np.nan")
    if plan.reset:
        lines.append(f"reset = draw('reset{net.seed}', {net.n_steps}, {net.batch}) > 0.8")
        if plan.batching == "single":
            lines.append("reset = reset[:, 0]")
        options.append("reset=reset")
    if plan.mean:
        options.append("reduce='mean'")
    start = [
        f"algo = {plan.algorithm}",
        f"core.initialise(algo, xs[0], batching={plan.batching!r})",
    ]
    if plan.fit:
        start.append(f"brainstate.random.seed({net.seed})")
    if plan.driver == "train":
        options.append(f"update_every={plan.update_every}")
        body = [
            *start,
            f"optimizer = braintools.optim.SGD({RATE})",
            "optimizer.register_trainable_weights(net.states(brainstate.ParamState))",
            "found = core.train(algo, loss, xs, ys, optimizer, clip_norm=None, "
            + ", ".join(options)
            + ")",
            "return found.grads, found.losses, None",
        ]
    elif plan.driver == "gradient":
        body = [
            *start,
            f"found = core.gradient(algo, loss, xs, ys, outputs=True, {', '.join(options)})",
            "return found.grads, found.losses, found.outputs",
        ]
    else:
        size = plan.update_every
        window = f"algo(core.MultiStepData(xs[t : t + {size}]))"
        call = window if plan.driver == "windows" else "algo(xs[t])[None]"
        body = [
            *start,
            "weights = net.states(brainstate.ParamState)",
            "total, losses, outs = None, [], []",
            f"for t in range(0, len(xs), {size}):",
            "    def of_window():",
            f"        out = {call}",
            f"        each = jax.vmap(loss)(out, ys[t : t + {size}])",
            "        return each.sum(), (each, out)",
            "    derivative = brainstate.transform.grad(of_window, weights, has_aux=True)",
            "    with brainstate.environ.context(i=t, t=t * 1.0 * u.ms):",
            "        grads, (each, out) = derivative()",
            "    losses.append(each)",
            "    outs.append(out)",
            "    total = grads if total is None else jax.tree.map(lambda a, b: a + b, total, grads,"
            " is_leaf=lambda a: isinstance(a, u.Quantity))",
            "return total, jnp.concatenate(losses), jnp.concatenate(outs)",
        ]
    run = [
        "def run():",
        f"    with brainstate.environ.context(i=0, t=0.0 * u.ms, fit={plan.fit}):",
        *(f"        {line}" for line in body),
    ]
    return text(net) + "\n" + "\n".join([*lines, *run]) + "\n"
