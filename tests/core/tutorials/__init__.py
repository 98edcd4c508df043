"""The tutorials as programs of our own, each with a `main(...)` that the tests run small.

Three programs: of the five texts one is a translation, and one a notebook of another.

They are written for `core` as a user would write them: only the import line and the names that
brainstate has moved since differ from what the tutorials' readers know.
"""
