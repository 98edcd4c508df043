"""Models of the field: what docs/models.md says of them is so."""

from __future__ import annotations

import pytest

from .catalogue.check import ENTRIES, PAGE, page, refusal, verdict
from .catalogue.entries import Entry

# What libraries say of their own parts.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# The first of each family; `python -m tests.core.catalogue` holds all of them.
HELD = list({entry.family: entry for entry in reversed(ENTRIES)}.values())


def test_the_page_is_what_the_core_says() -> None:
    assert len(ENTRIES) >= 150
    assert len({(e.family, e.name) for e in ENTRIES}) == len(ENTRIES)
    refusals = {entry: refusal(entry) for entry in ENTRIES}
    assert page(refusals) == PAGE.read_text(), "run python -m tests.core.catalogue --write"
    assert sum(map(bool, refusals.values())) <= 0.1 * len(ENTRIES)


@pytest.mark.parametrize("entry", HELD, ids=lambda e: f"{e.family}, {e.name}")
def test_gradients_are_the_definitions(entry: Entry) -> None:
    assert verdict(entry)[0] != "WRONG", verdict(entry)[1]
