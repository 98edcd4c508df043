"""Relations between small integers: what is reachable, what is connected."""

from __future__ import annotations

from collections.abc import Callable, Iterable

__all__ = ["closure", "components", "partners"]


def components(n: int, edges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Connected components of an undirected graph on 0..n-1, each sorted."""
    near: dict[int, set[int]] = {i: {i} for i in range(n)}
    for a, b in edges:
        near[a].add(b)
        near[b].add(a)
    found = {frozenset(closure({i}, lambda k: near[k])) for i in range(n)}
    return sorted(sorted(c) for c in found)


def closure(start: set[int], step: Callable[[int], set[int]]) -> set[int]:
    """Everything reachable from `start`, itself included."""
    seen, stack = set(start), list(start)
    while stack:
        new = step(stack.pop()) - seen
        seen |= new
        stack += new
    return seen


def partners(pairs: Iterable[tuple[int, int]], of: int) -> Callable[[int], set[int]]:
    """From a number at position `of` of a pair to the numbers at the other position."""
    known = list(pairs)
    return lambda k: {pair[1 - of] for pair in known if pair[of] == k}
