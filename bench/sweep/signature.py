"""What a ``_target_`` accepts, read from its source without importing it.

The parent process must not import jax, and nearly every target does. The constructor's signature is
still the only registry of hyperparameters, so it is read from the syntax tree.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.bounds import BOUNDS
from bench.errors import BadInput, one_of, suggest

SCALARS = {"int": int, "float": (int, float), "str": str, "bool": bool, "None": type(None)}


@dataclass(frozen=True)
class Signature:
    """Names and annotations of a constructor's arguments; ``open`` when it takes ``**kwargs``."""

    annotations: dict[str, ast.expr | None]
    open: bool


def check(group: str, node: Mapping[str, Any], given: Iterable[str] = ()) -> None:
    """Refuses hyperparameters that the target of ``node`` does not have, or of another type.

    Args:
        group: the config group, for messages (``algo``).
        node: the composed group, with its ``_target_``.
        given: arguments that the harness itself passes.

    Raises:
        BadInput: on a target that does not exist, a misspelt name, or a value of a wrong type or
            beyond the bound of its type (``bench.bounds``).
    """
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise BadInput(group, expected="_target_: package.module.Name and its arguments",
                       came=str(node))
    target = str(node["_target_"])
    signature = read(target)
    if signature is None:
        return
    options = set(signature.annotations) - set(given)
    for name, value in node.items():
        if name == "_target_":
            continue
        if name not in signature.annotations and not signature.open:
            raise BadInput(
                f"{group}.{name}",
                expected=one_of(options, "no hyperparameter"),
                came=name,
                do=suggest(name, options),
            )
        annotation = signature.annotations.get(name)
        if annotation is not None and not _fits(value, annotation):
            raise _refusal(f"{group}.{name}", value, annotation)


@cache
def read(target: str) -> Signature | None:
    """The signature of ``package.module.Name``; None when its source cannot be read.

    Raises:
        BadInput: when the module is there but has no such name.
    """
    module, _, name = target.rpartition(".")
    path = source_of(module)
    if path is None:
        raise BadInput(
            "_target_",
            expected="package.module.Name of something importable",
            came=target,
            do="Check the spelling, or put its folder on PYTHONPATH.",
        )
    if path.suffix != ".py":
        return None
    return _find(path, module, name, target)


def source_of(module: str) -> Path | None:
    """The file of ``module``, found without importing any package on the way."""
    head, _, rest = module.partition(".")
    if not head:
        return None
    # find_spec of a top-level name runs no code; of a dotted one it imports the parents.
    spec = None
    if head not in sys.builtin_module_names:
        with contextlib.suppress(ValueError):  # a module that is running, such as __main__
            spec = importlib.util.find_spec(head)
    if spec is None:
        return None
    path = Path(spec.origin) if spec.origin is not None else None
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    for part in rest.split(".") if rest else []:
        options = [file for folder in folders
                   for file in (folder / part / "__init__.py", folder / f"{part}.py")]
        path = next((file for file in options if file.is_file()), None)
        folders = [folder / part for folder in folders if (folder / part).is_dir()]
        if path is None and not folders:
            return None
    return path


def imports_of(path: Path, module: str) -> Iterator[str]:
    """Names of what a file imports anywhere in it, modules or what may be one.

    Args:
        path: the file.
        module: its dotted name.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, path)
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def _find(path: Path, module: str, name: str, target: str) -> Signature | None:
    body = list(_statements(ast.parse(path.read_text(encoding="utf-8")).body))
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _of_class(node, path, module, target)
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return _of_function(node, skip=0)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return read(f"{_absolute(node, module, path)}.{alias.name}")
    defined = [n.name for n in body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
    imported = [a.asname or a.name for n in body if isinstance(n, ast.Import | ast.ImportFrom)
                for a in n.names]
    assigned = [n.id for statement in body if isinstance(statement, ast.Assign | ast.AnnAssign)
                for n in ast.walk(statement)
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    if name in assigned or name in imported or "*" in imported or "__getattr__" in defined:
        return None
    raise BadInput(
        "_target_", expected=f"a class or function of {module}", came=target,
        do=suggest(name, defined + imported),
    )


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """What a module runs as it is imported: also below ``if`` and ``try``, not in functions."""
    for node in body:
        yield node
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ("body", "orelse", "handlers", "finalbody"):
                yield from _statements(getattr(node, part, ()))


def _absolute(node: ast.ImportFrom, module: str, path: Path) -> str:
    if not node.level:
        return str(node.module)
    package = module.split(".")
    drop = node.level - (path.name == "__init__.py")
    base = package[: len(package) - drop]
    return ".".join([*base, node.module] if node.module else base)


def _of_class(node: ast.ClassDef, path: Path, module: str, target: str) -> Signature | None:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _of_function(item, skip=1)
    if any("dataclass" in ast.dump(d) for d in node.decorator_list):
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
        return Signature(
            {f.target.id: f.annotation for f in fields if isinstance(f.target, ast.Name)}, False
        )
    for base in node.bases:
        if isinstance(base, ast.Name):
            return _find(path, module, base.id, target)
    return None if node.bases else Signature({}, open=False)


def _of_function(node: ast.FunctionDef, skip: int) -> Signature:
    arguments = node.args.posonlyargs + node.args.args
    return Signature(
        {a.arg: a.annotation for a in [*arguments[skip:], *node.args.kwonlyargs]},
        open=node.args.kwarg is not None,
    )


def _fits(value: Any, annotation: ast.expr) -> bool:
    """Whether ``value`` can be of the annotated type; what is not understood fits."""
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _fits(value, annotation.left) or _fits(value, annotation.right)
    if isinstance(annotation, ast.Constant):
        if annotation.value is None:
            return value is None
        if isinstance(annotation.value, str):
            return _fits(value, ast.parse(annotation.value, mode="eval").body)
    if isinstance(annotation, ast.Name) and annotation.id in BOUNDS:
        return BOUNDS[annotation.id].holds(value)
    if isinstance(annotation, ast.Name) and annotation.id in SCALARS:
        if isinstance(value, bool) and annotation.id != "bool":
            return False
        return isinstance(value, SCALARS[annotation.id])  # type: ignore[arg-type]
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
        if annotation.value.id == "Literal":
            options = annotation.slice
            elements = options.elts if isinstance(options, ast.Tuple) else [options]
            return any(isinstance(e, ast.Constant) and e.value == value for e in elements)
        if annotation.value.id in ("tuple", "list", "Sequence"):
            return isinstance(value, list | tuple)
    return True


def _refusal(key: str, value: Any, annotation: ast.expr) -> BadInput:
    """Says which type was expected; of a number beyond its bound, which bound."""
    bounds = {node.id: BOUNDS[node.id] for node in ast.walk(annotation)
             if isinstance(node, ast.Name) and node.id in BOUNDS}
    if bounds and isinstance(value, int | float):
        words = [bound.expected(value) for bound in bounds.values()]
        if _fits(None, annotation):
            words.append("null")
        example = next(iter(bounds.values())).example
        return BadInput(key, expected=", or ".join(words), came=str(value),
                        do=f"Try {key}={example}.")
    expected = re.sub(r"Literal\[(.*?)\]", r"\1", ast.unparse(annotation).replace("'", ""))
    for name, bound in bounds.items():
        expected = expected.replace(name, bound.plain)
    return BadInput(key, expected=expected, came=str(value))
