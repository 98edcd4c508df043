"""Trace `model.update` once: its equations, split in two, with the operations y = x W among them.

The *prelude* depends on parameters and constants alone; the *body* sees data. That much holds for
every model; which state a weight feeds, and whether that can be represented, is the matter of
`core.analysis.build`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
from jax import lax

from core.analysis.graph import Graph, Hidden
from core.analysis.operation import Operation
from core.environment import CLOCK, MISSING, clock_now, given_clock, reading
from core.equations.differential import RULES, differential, is_real
from core.equations.labels import unlinear
from core.equations.links import carries_gradient
from core.equations.program import Atom, Equation, Program, flatten_jaxpr, grafted
from core.errors import NotRepresentable
from core.lowering import is_product, lowered

__all__ = ["trace_step", "uses", "with_copies"]


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
    function, clock, read = _traced(model, args, watched)
    states = tuple(function.get_states(clock, *args))
    program = flatten_jaxpr(function.get_jaxpr(clock, *args))
    (out, seen), new_states = jax.tree.unflatten(
        function.get_out_treedef(clock, *args), program.outputs
    )
    n_clock, n_args = len(jax.tree.leaves(clock)), len(jax.tree.leaves(args))
    ticking = jax.tree.unflatten(jax.tree.structure(clock), program.inputs[:n_clock])
    ticking = {key: var for key, var in ticking.items() if key in read}
    arg_vars = (*program.inputs[n_clock : n_clock + n_args], *jax.tree.leaves(ticking))
    rest = list(program.inputs[n_clock + n_args :])
    paths = {id(s): ".".join(map(str, path)) for path, s in model.states().items()}

    names: dict[int, str] = {}
    state_vars, params, hidden, others = [], [], [], []
    parts: dict[int, tuple[int, ...]] = {}
    for state, new in zip(states, new_states, strict=True):
        keys = [k for k, _ in jax.tree_util.tree_leaves_with_path(state.value)]
        variables, rest = tuple(rest[: len(keys)]), rest[len(keys) :]
        state_vars.append(variables)
        after = jax.tree.leaves(new) if new is not None else [None] * len(keys)
        for var, key, new_var in zip(variables, keys, after, strict=True):
            names[var] = name = _path(paths.get(id(state), type(state).__name__), key)
            aval = program.avals[var]
            if isinstance(state, brainstate.ParamState):
                if new is not None and new_var != var:
                    raise NotRepresentable(
                        "parameters to stay as they are during a step",
                        f"the ParamState {name}, which update writes",
                        "Make it a state of another kind, or write it outside of the step.",
                    )
                params.append(var)
            elif new is None:
                continue  # only read: a constant
            elif isinstance(state, brainstate.HiddenState) and is_real(aval):
                came = program.avals[new_var] if isinstance(new_var, int) else None
                if came is not None and (came.shape, came.dtype) != (aval.shape, aval.dtype):
                    raise NotRepresentable(
                        f"a step to leave the state {name} as {aval.str_short()}",
                        f"a new value {came.str_short()}",
                        "Initialise the state with this shape and dtype, or cast what is written.",
                    )
                if isinstance(state, brainstate.HiddenGroupState):
                    keys_of = {k: key for key, k in state.name2index.items()}
                    program, own, new_own = _apart(program, var, new_var)
                    parts[var] = own
                    for k, (v, after_k) in enumerate(zip(own, new_own, strict=True)):
                        names[v] = f"{name}.{keys_of.get(k, k)}"
                        hidden.append(Hidden(names[v], v, after_k, aval.shape[:-1], aval.dtype))
                    continue
                hidden.append(Hidden(name, var, new_var, aval.shape, aval.dtype))
            else:
                others.append((var, new_var))

    varying = [*arg_vars, *(h.var for h in hidden), *(v for v, _ in others)]
    program, data = lowered(program, varying, every=lower)
    trainable = {v for v in params if _moves(program.avals[v])}
    prelude = [eqn for eqn in program.equations if data.isdisjoint(eqn.variables)]
    body = [eqn for eqn in program.equations if not data.isdisjoint(eqn.variables)]
    rules: dict[int, Any] = {}
    spelled, avals = differential(prelude, program.avals, trainable, rules)
    for eqn in spelled:
        from_params = [v for v in eqn.variables if v in trainable]
        if not from_params or not carries_gradient(eqn, avals):
            continue
        if eqn.name in RULES:  # a window makes the weight once, for all of its steps
            raise unlinear(eqn, "Clip the whole gradient instead (clip_norm of core.train).")
        trainable.update(v for v in eqn.outputs if _moves(avals[v]))
        joined = " + ".join(dict.fromkeys(names[v] for v in from_params))
        names.update(dict.fromkeys(eqn.outputs, joined))
    written = {*(h.var for h in hidden), *(v for v, _ in others), *parts}
    place = {id(s): i for i, s in enumerate(states)}
    looked_at = [place[id(s)] for s in watched if not isinstance(s, brainstate.ParamState)]
    shown = {
        var: atom
        for i, tree in zip(looked_at, seen, strict=True)
        for var, atom in zip(state_vars[i], jax.tree.leaves(tree), strict=True)
        if var in written
    }
    out_atoms = (*jax.tree.leaves(out), *shown.values())
    operations = _find_operations(body, program, data, trainable, names)
    known = {id(op.eqn) for op in operations}
    used = [v for eqn in body if id(eqn) not in known for v in eqn.variables]
    used += [a for a in out_atoms if isinstance(a, int)]
    used += [a for a in (*(h.new for h in hidden), *(new for _, new in others)) if a in trainable]
    plain = tuple(dict.fromkeys(v for v in used if v in trainable and v not in data))
    return Graph(
        program,
        prelude=tuple(prelude),
        body=tuple(body),
        states=states,
        state_vars=tuple(state_vars),
        arg_vars=arg_vars,
        out_atoms=out_atoms,
        out_tree=jax.tree.structure(out),
        param_vars=tuple(params),
        hidden=tuple(hidden),
        others=tuple(others),
        operations=operations,
        parameters=(),
        plain=plain,
        groups=(),
        names=names,
        clock={k: jax.tree.map(jax.typeof, v) for k, v in clock.items() if k in ticking},
        settings={k: v for k, v in read.items() if k not in ticking},
        shown=tuple(shown),
        parts=parts,
        rules=rules,
    )


def _moves(aval: Any) -> bool:
    """Whether a gradient can move an array: no number, no gradient."""
    return is_real(aval) and aval.size > 0


def _apart(
    program: Program, var: int, new: Atom
) -> tuple[Program, tuple[int, ...], tuple[int, ...]]:
    """A state that holds several, one for each entry of its last axis, as so many states.

    Returns:
      The program, in which the array is put together from its entries at the beginning of the step
      and taken apart at its end; the entries' variables before and after.
    """
    aval = program.avals[var]
    avals, count = dict(program.avals), aval.shape[-1]

    def fresh(like: Any) -> int:
        avals[len(avals)] = like
        return len(avals) - 1

    def made(f: Any, like: Any, inputs: Sequence[Atom], outputs: Sequence[int] = ()) -> Any:
        return grafted(flatten_jaxpr(jax.make_jaxpr(f)(*like)), inputs, outputs, fresh)

    whole = jax.ShapeDtypeStruct(aval.shape, aval.dtype)
    entries = [jax.ShapeDtypeStruct(aval.shape[:-1], aval.dtype)] * count
    own = tuple(fresh(jax.core.ShapedArray(e.shape, e.dtype)) for e in entries)
    first, _ = made(lambda *e: jnp.stack(e, -1), entries, own, (var,))
    last, new_own = made(
        lambda a: [lax.index_in_dim(a, k, -1, keepdims=False) for k in range(count)], [whole], [new]
    )
    equations = (*first, *program.equations, *last)
    return replace(program, equations=equations, avals=avals), own, tuple(new_own)


def _traced(
    model: Any, args: tuple[Any, ...], watched: Sequence[Any]
) -> tuple[Any, dict[str, Any], dict[Any, Any]]:
    """The step as a function of the clock and its input, traced; its clock; what it has read.

    A clock that the environment does not hold starts at zero, if the step insists on one.
    """
    clock = given_clock()

    def step(clock: dict[str, Any], *args: Any) -> Any:
        with brainstate.environ.context(**clock), reading() as found:
            try:
                out = model.update(*args)
            finally:
                read.update(found)
        after = [s.value for s in watched]
        return out, [
            v
            for s, v in zip(watched, after, strict=True)
            if not isinstance(s, brainstate.ParamState)
        ]

    while True:
        read: dict[Any, Any] = {}
        function = brainstate.transform.StatefulFunction(step, name="update")
        try:
            function.make_jaxpr(clock, *args)
        except KeyError:
            asked = {k: v for k, v in clock_now().items() if read.get(k) is MISSING}
            if not asked:
                raise
            clock = {**clock, **asked}
            continue
        except jax.errors.ConcretizationTypeError as error:
            if read.keys().isdisjoint(CLOCK):
                raise
            raise NotRepresentable(
                "a step that computes with the environment's i and t, which change with the steps",
                f"one that needs their values beforehand: {str(error).splitlines()[0]}",
                "Use jnp.where or brainstate.transform.cond in place of Python's if.",
            ) from error
        return function, clock, read


def _find_operations(
    body: list[Equation],
    program: Program,
    data: Set[int],
    trainable: set[int],
    names: Mapping[int, str],
) -> tuple[Operation, ...]:
    operations: list[Operation] = []
    for eqn in body:
        if not is_product(eqn, data, program.avals):
            continue
        left, right = eqn.variables
        x, w = (left, right) if left in data else (right, left)
        name = names.get(w, "a constant matrix")
        same = sum(op.name == name for op in operations)
        operations.append(
            Operation(
                eqn,
                x,
                w,
                name,
                f"{name} (use {same + 1})" if same else name,
                w in trainable,
                x_first=left in data,
                x_shape=program.avals[x].shape,
                w_shape=program.avals[w].shape,
            )
        )
    return tuple(operations)


def uses(graph: Graph) -> dict[int, list[int]]:
    """Where parameters are read but by operations: ids of equations, and ends of the step."""
    own = {id(op.eqn) for op in graph.operations}
    found: dict[int, list[int]] = {v: [] for v in graph.plain}
    for eqn in graph.body:
        for v in dict.fromkeys(eqn.variables) if id(eqn) not in own else ():
            if v in found:
                found[v].append(id(eqn))
    for use, atom in _ends(graph):
        if isinstance(atom, int) and use not in found.get(atom, [use]):
            found[atom].append(use)
    return found


OUTPUT = -1  # the use in an output; the new value of the k-th hidden or other state is -2 - k


def _ends(graph: Graph) -> list[tuple[int, Atom]]:
    new = [*(h.new for h in graph.hidden), *(after for _, after in graph.others)]
    return [*((OUTPUT, a) for a in graph.out_atoms), *((-2 - k, a) for k, a in enumerate(new))]


def with_copies(graph: Graph, copies: Mapping[tuple[int, int], int]) -> Graph:
    """The same step, where uses of parameters read copies.

    Args:
      copies: new variables by use, as in `uses`, and parameter.
    """
    originals = {copy: v for (_, v), copy in copies.items()}

    def own(use: int, atom: Any) -> Any:
        return copies.get((use, atom), atom) if isinstance(atom, int) else atom

    ends = iter([own(*end) for end in _ends(graph)])
    avals, names = graph.program.avals, graph.names
    graph = replace(
        graph,
        program=replace(
            graph.program, avals={**avals, **{c: avals[v] for c, v in originals.items()}}
        ),
        body=tuple(
            replace(eqn, inputs=tuple(own(id(eqn), a) for a in eqn.inputs))
            if any((id(eqn), v) in copies for v in eqn.variables)
            else eqn
            for eqn in graph.body
        ),
        out_atoms=tuple(next(ends) for _ in graph.out_atoms),
        hidden=tuple(replace(h, new=next(ends)) for h in graph.hidden),
        others=tuple((v, next(ends)) for v, _ in graph.others),
        names={**names, **{c: names[v] for c, v in originals.items()}},
        copies=originals,
        plain=(*graph.plain, *originals),
    )
    read = uses(graph)
    return replace(graph, plain=tuple(v for v in graph.plain if read[v]))


def _path(state: str, key: tuple[Any, ...]) -> str:
    parts = [getattr(k, "key", getattr(k, "name", getattr(k, "idx", None))) for k in key]
    return ".".join([state, *(str(p) for p in parts if isinstance(p, str) and p != "mantissa")])
