"""Small models of every kind that the field uses, each held against a reference of its own.

    python -m tests.core.catalogue [WORD] [--write]

holds all of them, or those whose family or name has the word, against it; `--write` makes
`docs/models.md` of what it finds. `tests/core/test_catalogue.py` keeps the page true.
"""
