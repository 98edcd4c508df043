"""A jaxpr in the few words that the analysis needs: variables are integers, calls are inlined.

A `Program` is what `model.update` computes, flat: no nested jit, no dead equation. Evaluating it
takes ten lines, so the other modules run parts of it, replace variables and cut gradients.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend import core as jex
from jax.extend import source_info_util
from jax.extend.core import primitives

_HERE = str(Path(__file__).parents[1])  # the core
_PYTHON = sysconfig.get_path("stdlib")

# Call primitives that only wrap a jaxpr. custom_jvp_call stays: it carries a surrogate gradient.
_CALLS = {"jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "named_call"}


@dataclass(frozen=True, eq=False)
class Constant:
    """A literal operand."""

    value: Any


Atom = int | Constant


@dataclass(frozen=True, eq=False)
class Equation:
    """One primitive application: `outputs = primitive(*inputs, **params)`."""

    primitive: Any
    inputs: tuple[Atom, ...]
    outputs: tuple[int, ...]
    params: Mapping[str, Any]
    source_info: tuple[Any, ...]  # its own, and those of the calls around it

    @property
    def name(self) -> str:
        return self.primitive.name

    @property
    def source(self) -> str:
        """`file:line (function)` of the innermost frame outside installed packages and the core."""
        for info in self.source_info:
            for f in info.traceback.frames if info.traceback else ():
                if f.file_name.startswith(_HERE):
                    break  # what is further out only called the core
                if "site-packages" not in f.file_name and not f.file_name.startswith(_PYTHON):
                    return f"{f.file_name}:{f.line_num} ({f.function_name})"
        return source_info_util.summarize(self.source_info[0])

    @property
    def variables(self) -> tuple[int, ...]:
        """The operands that are variables."""
        return tuple(a for a in self.inputs if isinstance(a, int))


@dataclass(frozen=True, eq=False)
class Program:
    """`outputs = program(inputs)`.

    Attributes:
      avals: shape and dtype by variable.
      written_out: what `core.equations.differential` has found to stand for equations.
    """

    inputs: tuple[int, ...]
    equations: tuple[Equation, ...]
    outputs: tuple[Atom, ...]
    constants: Mapping[int, Any]
    avals: Mapping[int, jax.core.ShapedArray]
    written_out: dict[Any, Program | None] = field(default_factory=dict)


def bind(eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    """Apply an equation's primitive to concrete or traced operands."""
    out = eqn.primitive.bind(*operands, **eqn.primitive.get_bind_params(eqn.params))
    return list(out) if eqn.primitive.multiple_results else [out]


def flatten_jaxpr(closed: Any) -> Program:
    """Inline every call of a closed jaxpr and drop what no output needs."""
    writer, constants = Writer({}), dict[int, Any]()

    def inline(closed: Any, operands: Iterable[Atom], around: tuple[Any, ...]) -> list[Atom]:
        env: dict[Any, Atom] = dict(zip(closed.jaxpr.invars, operands, strict=True))
        for var, value in zip(closed.jaxpr.constvars, closed.consts, strict=True):
            env[var] = constant = writer.fresh(var.aval)
            constants[constant] = value

        def read(atom: Any) -> Atom:
            return Constant(atom.val) if isinstance(atom, jex.Literal) else env[atom]

        for eqn in closed.jaxpr.eqns:
            inputs, source = tuple(map(read, eqn.invars)), (eqn.source_info, *around)
            inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
            outputs: Sequence[Any]
            if eqn.primitive.name in _CALLS and inner is not None:
                inner = inner if hasattr(inner, "consts") else jex.ClosedJaxpr(inner, [])
                outputs = inline(inner, inputs, source)
            else:
                outputs = tuple(writer.fresh(v.aval) for v in eqn.outvars)
                writer.write(Equation(eqn.primitive, inputs, outputs, eqn.params, source))
            env.update(zip(eqn.outvars, outputs, strict=True))
        return [read(a) for a in closed.jaxpr.outvars]

    inputs = tuple(writer.fresh(v.aval) for v in closed.jaxpr.invars)
    outputs = tuple(inline(closed, inputs, ()))
    return Program(inputs, tuple(needed(writer.written, outputs)), outputs, constants, writer.avals)


def aval_of(avals: Mapping[int, Any], atom: Atom) -> Any:
    """Shape and dtype of an operand."""
    return jax.typeof(atom.value) if isinstance(atom, Constant) else avals[atom]


def like(avals: Mapping[int, Any], atom: Atom) -> jax.ShapeDtypeStruct:
    """The same, for what is traced."""
    aval = aval_of(avals, atom)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)


def program_of(f: Callable[..., Any], *args: Any) -> Program:
    """What a function computes of arrays like these."""
    return flatten_jaxpr(jax.make_jaxpr(f)(*args))


def traced(f: Callable[..., Any], eqn: Equation, avals: Mapping[int, Any]) -> Program:
    """What a function of an equation's operands computes, as a program of its variables."""
    variables = tuple(dict.fromkeys(eqn.variables))

    def of_variables(*values: Any) -> Any:
        env = dict(zip(variables, values, strict=True))
        return f(*(read(env, a) for a in eqn.inputs))

    return program_of(of_variables, *(like(avals, v) for v in variables))


class Writer:
    """Writes equations one after the other; `write` may put others in place of one. Variables are
    numbered from zero on."""

    def __init__(self, avals: Mapping[int, Any]) -> None:
        self.avals, self.written = dict(avals), list[Equation]()

    def write(self, eqn: Equation) -> None:
        self.written.append(eqn)

    def rewritten(self, program: Program, equations: Iterable[Equation]) -> Program:
        """The program with these equations, as `write` has them, behind what has been written."""
        for eqn in equations:
            self.write(eqn)
        return replace(program, equations=tuple(self.written), avals=self.avals)

    def fresh(self, aval: Any) -> int:
        self.avals[len(self.avals)] = aval
        return len(self.avals) - 1

    def copy(self, a: Atom, v: int, source_info: tuple[Any, ...]) -> None:
        self.write(Equation(primitives.copy_p, (a,), (v,), {}, source_info))

    def graft(
        self,
        program: Program,
        operands: Sequence[Atom],
        results: Sequence[int],
        around: tuple[Any, ...] = (),
    ) -> None:
        """Write a program whose operands and results are these, called from `around`."""
        there: dict[int, Atom] = dict(zip(program.inputs, operands, strict=True))
        there.update((v, Constant(value)) for v, value in program.constants.items())
        for end, v in zip(program.outputs, results, strict=True):
            if isinstance(end, int):
                there.setdefault(end, v)

        def named(a: Atom) -> Any:
            if isinstance(a, int) and a not in there:
                there[a] = self.fresh(program.avals[a])
            return there[a] if isinstance(a, int) else a

        for eqn in program.equations:
            inputs, outputs = tuple(map(named, eqn.inputs)), tuple(map(named, eqn.outputs))
            source_info = (*eqn.source_info, *around)
            self.write(Equation(eqn.primitive, inputs, outputs, eqn.params, source_info))
        for end, v in zip(program.outputs, results, strict=True):
            if (a := named(end)) != v:
                self.copy(a, v, around)


def needed(
    equations: Iterable[Equation], outputs: Iterable[Atom], given: Iterable[int] = ()
) -> list[Equation]:
    """The equations, in order, that `outputs` need when the variables `given` are known."""
    known = set(given)
    wanted = {a for a in outputs if isinstance(a, int)} - known
    kept = []
    for eqn in reversed(list(equations)):
        if wanted.intersection(eqn.outputs):
            kept.append(eqn)
            wanted.update(v for v in eqn.variables if v not in known)
    return kept[::-1]


def variables_of(equations: Iterable[Equation], ends: Iterable[Atom] = ()) -> set[int]:
    """The variables that equations read, and those among `ends`."""
    return {v for eqn in equations for v in eqn.variables}.union(
        a for a in ends if isinstance(a, int)
    )


def closure(start: Iterable[Any], pairs: Collection[tuple[Any, Any]]) -> set[Any]:
    """All that pairs (from, to) lead to from `start`, itself included."""
    found = set(start)
    while more := {to for origin, to in pairs if origin in found} - found:
        found |= more
    return found


def evaluate(
    equations: Iterable[Equation],
    env: dict[int, Any],
    instead: Callable[[Equation, dict[int, Any]], list[Any] | None] | None = None,
) -> dict[int, Any]:
    """Run equations in `env` (updated in place). Variables already in `env` are not recomputed;
    `instead(eqn, env)` may supply an equation's outputs instead of its primitive."""
    for eqn in equations:
        if all(v in env for v in eqn.outputs):
            continue
        out = instead(eqn, env) if instead else None
        if out is None:
            out = bind(eqn, [read(env, a) for a in eqn.inputs])
        env.update(zip(eqn.outputs, out, strict=True))
    return env


class Settled:
    """Values that constants alone decide, computed when they are asked for."""

    def __init__(self, constants: Mapping[int, Any], equations: Iterable[Equation] = ()) -> None:
        self._known = {v: a for v, a in constants.items() if not isinstance(a, jax.core.Tracer)}
        self._variables = set(self._known)
        self._equations: list[Equation] = []
        for eqn in equations:
            self.add(eqn)

    def add(self, eqn: Equation) -> None:
        if self._variables.issuperset(eqn.variables):
            self._variables.update(eqn.outputs)
            self._equations.append(eqn)

    def value(self, atom: Atom) -> np.ndarray | None:
        """None where more than constants decide."""
        if isinstance(atom, Constant):
            return np.asarray(atom.value)
        if atom not in self._variables:
            return None
        with jax.ensure_compile_time_eval():
            evaluate(needed(self._equations, [atom], given=self._known), self._known)
        return np.asarray(self._known[atom])


def read(env: Mapping[int, Any], atom: Atom) -> Any:
    """The value of an operand."""
    return atom.value if isinstance(atom, Constant) else env[atom]
