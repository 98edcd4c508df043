"""What a setting may be: type hints, some with bounds, and the sentence that refuses anything else.

The settings of a cell (``bench.config``) and the arguments of constructors are held against the
same hints. For a type checker ``Count`` is int, ``Positive`` and ``NotNegative`` are float.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import EnumType
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from bench.errors import BadInput, listed, suggest

# What counts something: an index of an array has 32 bits.
LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Range:
    """Numbers from ``least``, which is one of them unless ``above``, to ``most``."""

    least: float
    most: float = sys.float_info.max
    above: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a value is a number of this range."""
        low = is_number(value) and (value > self.least if self.above else value >= self.least)
        return bool(low and value <= self.most)

    def words(self, value: Any, kind: str) -> str:
        """What is expected in place of this value."""
        if isinstance(value, int | float) and value > self.most:
            return f"{kind} of at most {self.most:{'.0f' if self.most < 1e12 else 'g'}}"
        return f"{kind} {'above' if self.above else 'of at least'} {self.least:g}"


Count = Annotated[int, Range(1, LARGEST)]
Positive = Annotated[float, Range(0, above=True)]
NotNegative = Annotated[float, Range(0)]

LISTS, MAPPINGS = (tuple, list, Sequence), (dict, Mapping)
WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    **dict.fromkeys(LISTS, "a list"),
    **dict.fromkeys(MAPPINGS, "settings by name"),
}
NAMES: dict[Any, list[str]] = {bool: ["true", "false"], NoneType: ["null"], None: ["null"]}


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number, which true and false are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # math.isfinite fails on larger integers


def fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` can be of the hinted type; what is not understood fits."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(fits(value, option) for option in inner)
    if isinstance(hint, EnumType):
        return bool(_members(value, hint))
    if origin is Annotated:
        return fits(value, inner[0]) and all(
            bound.holds(value) for bound in inner[1:] if isinstance(bound, Range)
        )
    if origin is Literal:
        return any((value, type(value)) == (option, type(option)) for option in inner)
    if hint in (None, NoneType):
        return value is None
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    if hint in (str, bool):
        return isinstance(value, hint)
    if (origin or hint) in LISTS:
        return isinstance(value, list | tuple)
    return isinstance(value, Mapping) if (origin or hint) in MAPPINGS else True


def as_hinted(value: Any, hint: Any) -> Any:
    """A value that fits, as a constructor takes it.

    A name or value of an enumeration is its member. A pair of numbers in YAML is a list, which is
    given as a tuple unless the hint is list. Settings by number are by text where the hint says so.
    """
    for option in _options(hint):
        if isinstance(option, EnumType) and (members := _members(value, option)):
            return members[0]
        if isinstance(value, list) and (get_origin(option) or option) is list:
            return value
        if isinstance(value, Mapping) and get_args(option)[:1] == (str,):
            return {str(name): setting for name, setting in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _members(value: Any, hint: Any) -> list[Any]:
    return [member for member in hint if value in (member.name, member.value)]


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def check(key: str, value: Any, hint: Any, default: Any = None) -> None:
    """Refuses a value that its hint does not allow.

    The default is what could be tried instead; without one it is the least that the hint allows.
    """
    if fits(value, hint):
        return
    words: list[str] = []
    names: list[str] = []
    ranges: list[Range] = []
    for option in _options(hint):
        origin, inner = get_origin(option), get_args(option)
        if origin is Literal:
            names += map(str, inner)
        elif origin is Annotated:
            bounds = [bound for bound in inner[1:] if isinstance(bound, Range)]
            words += [bound.words(value, WORDS[inner[0]]) for bound in bounds]
            ranges += bounds
        elif isinstance(option, EnumType):
            names += option.__members__
        elif option in NAMES:
            names += NAMES[option]
        else:
            words.append(WORDS.get(origin or option, "another value"))
    if isinstance(value, float) and value.is_integer() and fits(int(value), hint):
        default = int(value)  # 1e3 is a number with a point in YAML
    elif default is None or not fits(default, hint):
        default = next((f"{bound.least + bound.above:g}" for bound in ranges), None)
    expected = ", or ".join([*words, *names]) if words else listed(names)
    do = suggest(str(value), names) or (f"Try {key}={default}." if ranges else "")
    several = isinstance(value, list) and len(value) > 1 and all(fits(v, hint) for v in value)
    if ranges and several and re.fullmatch(r"(?!tune)\w+", key):  # an axis, in any case
        do = f"To sweep over them: -m {key}={','.join(map(_as_typed, value))}."
    raise BadInput(key, expected, _as_typed(value), do)


def _as_typed(value: Any) -> str:
    """A value as it was typed; text that reads as a number or a word of YAML is said to be text."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str) and re.fullmatch(r"[-+]?[\d._]+(e[-+]?\d+)?|true|false|null", value):
        return f"the text '{value}'"
    return str(value)
