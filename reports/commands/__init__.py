"""Commands of ``python -m reports``: each file has `add_arguments(parser)` and `run(arguments) ->
int`.
"""
