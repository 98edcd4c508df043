"""Trace `model.update` once: its equations, split in two, with the operations y = x W among them.

The *prelude* depends on parameters and constants alone; the *body* sees data. That much holds for
every model; which state a weight feeds, and whether that can be represented, is the matter of
`core.analysis.build`.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
from brainstate import HiddenGroupState, HiddenState, ParamState
from jax import lax

from core.analysis.graph import Graph, Hidden
from core.analysis.operation import Operation
from core.environment import clock_now, settings_now
from core.equations.differential import RULES, differential, is_real
from core.equations.labels import unlinear
from core.equations.links import carries_gradient
from core.equations.program import (
    Atom,
    Program,
    Writer,
    aval_of,
    flatten_jaxpr,
    program_of,
    variables_of,
)
from core.errors import InvalidArgument, NotRepresentable, Refusal
from core.lowering import is_product, lowered


def trace_step(
    model: Any, args: tuple[Any, ...], watched: Sequence[Any] = (), *, lower: bool = False
) -> Graph:
    """The step's equations, split into prelude and body, with its operations found.

    Enough to run and differentiate the step as it is; which state a weight feeds is left open.

    Args:
      watched: states that are looked at after the step. Those that it writes are outputs of it,
        behind the model's own: `Graph.shown`.
      lower: whether all is written as products that can be (`core.lowering`).

    Raises:
      NotRepresentable: a parameter that the step writes, whose new value would be lost; a state
        that the step gives another shape or dtype.
    """
    return _with_operations(_with_states(model, args, watched), lower)


def _with_states(model: Any, args: tuple[Any, ...], watched: Sequence[Any]) -> Graph:
    """The step's equations, all of them its body, and what its states are to credit."""
    function, clock = _traced(model, args, watched)
    states = tuple(function.get_states(clock, *args))
    program = flatten_jaxpr(function.get_jaxpr(clock, *args))
    out, new_states = jax.tree.unflatten(function.get_out_treedef(clock, *args), program.outputs)
    n_clock, n_args = len(jax.tree.leaves(clock)), len(jax.tree.leaves(args))
    ticking = jax.tree.unflatten(jax.tree.structure(clock), program.inputs[:n_clock])
    read = variables_of(program.equations, program.outputs)
    ticking = {k: var for k, var in ticking.items() if not read.isdisjoint(jax.tree.leaves(var))}
    arg_vars = (*program.inputs[n_clock : n_clock + n_args], *jax.tree.leaves(ticking))
    rest = list(program.inputs[n_clock + n_args :])
    paths = {id(s): ".".join(map(str, path)) for path, s in model.states().items()}

    names: dict[int, str] = {}
    state_vars, hidden, others, params = [], [], [], list[int]()
    shown, parts = dict[int, Atom](), dict[int, tuple[int, ...]]()
    for state, new in zip(states, new_states, strict=True):
        keys = [k for k, _ in jax.tree_util.tree_leaves_with_path(state.value)]
        variables, rest = tuple(rest[: len(keys)]), rest[len(keys) :]
        state_vars.append(variables)
        path, trained = paths.get(id(state), type(state).__name__), isinstance(state, ParamState)
        names.update((var, _path(path, key)) for var, key in zip(variables, keys, strict=True))
        if trained:
            params += variables
        if new is None:
            continue  # only read: a constant
        after: list[Any] = jax.tree.leaves(new)
        if not trained and any(state is s for s in watched):
            shown.update(zip(variables, after, strict=True))
        for var, new_var in zip(variables, after, strict=True):
            name, aval, came = names[var], program.avals[var], aval_of(program.avals, new_var)
            if trained:
                if new_var != var:
                    raise NotRepresentable(
                        "parameters to stay as they are during a step",
                        f"the ParamState {name}, which update writes",
                        "Make it a state of another kind, or write it outside of the step.",
                    )
            elif (came.shape, came.dtype) != (aval.shape, aval.dtype):
                raise NotRepresentable(
                    f"a step to leave the state {name} as {aval.str_short()}",
                    f"a new value {came.str_short()}",
                    "Initialise the state with this shape and dtype, or cast what is written.",
                )
            elif not isinstance(state, HiddenState) or not is_real(aval):
                others.append((var, new_var))
            elif isinstance(state, HiddenGroupState):
                keys_of = {k: key for key, k in state.name2index.items()}
                program, own, new_own = _apart(program, var, new_var)
                parts[var] = own
                for k, (v, after_k) in enumerate(zip(own, new_own, strict=True)):
                    names[v] = f"{name}.{keys_of.get(k, k)}"
                    hidden.append(Hidden(names[v], v, after_k, aval.shape[:-1], aval.dtype))
            else:
                hidden.append(Hidden(name, var, new_var, aval.shape, aval.dtype))

    return Graph(
        program,
        body=program.equations,
        states=states,
        state_vars=tuple(state_vars),
        arg_vars=arg_vars,
        out_atoms=(*jax.tree.leaves(out), *shown.values()),
        out_tree=jax.tree.structure(out),
        param_vars=tuple(params),
        hidden=tuple(hidden),
        others=tuple(others),
        names=names,
        clock={k: jax.tree.map(jax.typeof, v) for k, v in clock.items() if k in ticking},
        settings=settings_now(),
        shown=tuple(shown),
        parts=parts,
    )


def _with_operations(graph: Graph, lower: bool) -> Graph:
    """With prelude and body apart, and the products of data and weights found."""
    written = (v for v, _ in graph.others)
    varying = [*graph.arg_vars, *(h.var for h in graph.hidden), *written]
    program, data = lowered(graph.program, varying, every=lower)
    trainable = {v for v in graph.param_vars if _moves(program.avals[v])}
    names = dict(graph.names)
    prelude = [eqn for eqn in program.equations if data.isdisjoint(eqn.variables)]
    body = [eqn for eqn in program.equations if not data.isdisjoint(eqn.variables)]
    spelled = differential(program, prelude, trainable)
    for eqn in spelled.equations:
        from_params = [v for v in eqn.variables if v in trainable]
        if not from_params or not carries_gradient(eqn, spelled.avals):
            continue
        if eqn.name in RULES:  # a window makes the weight once, for all of its steps
            raise unlinear(eqn, or_else="")
        trainable.update(v for v in eqn.outputs if _moves(spelled.avals[v]))
        joined = " + ".join(dict.fromkeys(names[v] for v in from_params))
        names.update(dict.fromkeys(eqn.outputs, joined))
    operations = []
    for eqn in body:
        if is_product(eqn, data, program.avals):
            x, w = eqn.variables
            name, width = names.get(w, "a constant matrix"), program.avals[w].shape[1]
            shape = program.avals[x].shape
            operations.append(Operation(eqn, x, w, name, w in trainable, shape, width))
    graph = replace(
        graph,
        program=program,
        prelude=tuple(prelude),
        body=tuple(body),
        operations=tuple(operations),
        names=names,
    )
    return _with_copies(graph, trainable)


def _moves(aval: Any) -> bool:
    """Whether a gradient can move an array: no number, no gradient."""
    return is_real(aval) and aval.size > 0


def _apart(
    program: Program, var: int, new: Atom
) -> tuple[Program, tuple[int, ...], tuple[int, ...]]:
    """A state that holds several, one for each entry of its last axis, as so many states: put
    together when the step begins and taken apart at its end. Their variables before and after."""
    aval, writer = program.avals[var], Writer(program.avals)
    places, entry = range(aval.shape[-1]), jax.core.ShapedArray(aval.shape[:-1], aval.dtype)
    before, after = (tuple(writer.fresh(entry) for _ in places) for _ in range(2))
    stacked = program_of(lambda *entries: jnp.stack(entries, -1), *(entry for _ in places))
    writer.graft(stacked, before, [var])
    writer.written += program.equations
    taken = program_of(lambda a: [lax.index_in_dim(a, k, -1, keepdims=False) for k in places], aval)
    writer.graft(taken, [new], after)
    return replace(program, equations=tuple(writer.written), avals=writer.avals), before, after


def _traced(
    model: Any, args: tuple[Any, ...], watched: Sequence[Any]
) -> tuple[Any, dict[str, Any]]:
    """The step as a function of the clock and its input, traced; its clock."""
    clock = clock_now()

    def step(clock: dict[str, Any], *args: Any) -> Any:
        with brainstate.environ.context(**clock):
            out = model.update(*args)
        for state in watched:
            state.value  # noqa: B018  read here, it is a state of the step
        return out

    function = brainstate.transform.StatefulFunction(step, name="update")
    try:
        function.make_jaxpr(clock, *args)
    except jax.errors.JAXTypeError as error:
        raise NotRepresentable(
            "a step that computes with inputs, states, and the environment's i and t, which change"
            " with the steps",
            f"one that needs values beforehand: {str(error).splitlines()[0]}",
            "Use jnp.where or brainstate.transform.cond in place of Python's if, and jnp in place"
            " of numpy.",
        ) from error
    except (AttributeError, TypeError, ValueError) as error:
        if isinstance(error, Refusal):
            raise
        raise InvalidArgument(
            "a step of the model, from its states and one step's input, that runs",
            f"{type(error).__name__}, for inputs {[jnp.shape(a) for a in jax.tree.leaves(args)]}: "
            + " ".join(str(error).split())[:200],
            "Make the states by core.initialise, with the input of one step: [B, ...], or [...] for"
            ' batching="single"; several inputs are one, a tuple or dict.',
        ) from error
    return function, clock


def _with_copies(graph: Graph, weights: Set[int]) -> Graph:
    """A variable of its own for every place where a weight is read: where it reaches a state it is
    one number per neuron, elsewhere it may have another shape."""
    products, matrices = {id(op.eqn) for op in graph.operations}, {op.w for op in graph.operations}
    writer, names, first = Writer(graph.program.avals), dict(graph.names), list[int]()

    def here(v: int) -> int:
        if v not in matrices and v not in first:
            first.append(v)
            return v
        own = writer.fresh(writer.avals[v])
        writer.copy(v, own, ())
        names[own] = names[v]
        return own

    def placed(*atoms: Any) -> tuple[Any, ...]:
        own = {a: here(a) for a in dict.fromkeys(atoms) if isinstance(a, int) and a in weights}
        return tuple(own.get(a, a) if isinstance(a, int) else a for a in atoms)

    return replace(
        graph,
        body=tuple(
            eqn if id(eqn) in products else replace(eqn, inputs=placed(*eqn.inputs))
            for eqn in graph.body
        ),
        out_atoms=placed(*graph.out_atoms),
        hidden=tuple(replace(h, new=placed(h.new)[0]) for h in graph.hidden),
        others=tuple((v, placed(new)[0]) for v, new in graph.others),
        prelude=(*graph.prelude, *writer.written),
        program=replace(graph.program, avals=writer.avals),
        names=names,
        plain=(*first, *(v for eqn in writer.written for v in eqn.outputs)),
    )


def _path(state: str, key: tuple[Any, ...]) -> str:
    parts = [getattr(k, "key", getattr(k, "name", getattr(k, "idx", None))) for k in key]
    return ".".join([state, *(str(p) for p in parts if isinstance(p, str) and p != "mantissa")])
