"""HTML out of Python: every text is escaped unless it is already `Html`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_VOID = frozenset({"input", "meta", "br", "img", "link"})


class Html(str):
    """Text that is HTML already; anything else is escaped on its way into a page."""

    __slots__ = ()


Child = object  # Html, text, number, None (nothing), or an iterable of these


def tag(name: str, /, *children: Child, **attributes: object) -> Html:
    """One element. ``class_`` and ``for_`` lose the underscore, inner ones become hyphens.

    An attribute that is None or False is left out, True stands without a value.
    """
    parts = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(f" {key}" if value is True else f' {key}="{escape(str(value), quote=True)}"')
    if name in _VOID:
        return Html(f"<{name}{''.join(parts)}>")
    return Html(f"<{name}{''.join(parts)}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """The children one after another, texts escaped."""
    out = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            out.append(str(child))
        elif isinstance(child, str) or not isinstance(child, Iterable):
            out.append(escape(str(child), quote=True))
        else:
            out.append(str(join(child)))
    return Html("".join(out))


def table(
    head: Iterable[Child],
    rows: Iterable[Iterable[Child]],
    *,
    numeric: Iterable[int] = (),
    caption: str | None = None,
    class_: str | None = None,
) -> Html:
    """A table in a box that scrolls sideways; `numeric` columns are set flush right."""
    right = frozenset(numeric)

    def cells(name: str, row: Iterable[Child], **attributes: object) -> list[Html]:
        return [
            tag(name, cell, class_="num" if i in right else None, **attributes)
            for i, cell in enumerate(row)
        ]

    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption) if caption else None,
            tag("thead", tag("tr", cells("th", head, scope="col"))),
            tag("tbody", (tag("tr", cells("td", row)) for row in rows)),
            class_=class_,
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption or "table",
    )
