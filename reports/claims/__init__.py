"""What the tutorials claim, answered from records; each file of this folder holds the claims of a
topic.

A file has `ORDER` and `CLAIMS`; it is found by being here.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace

from reports.claims.base import Answered, Claim
from reports.study import Study


def all_claims() -> list[Claim]:
    """Every claim of every topic, in order."""
    modules = [
        importlib.import_module(f"{__name__}.{m.name}")
        for m in pkgutil.iter_modules(__path__)
        if m.name != "base"
    ]
    return [
        claim
        for module in sorted(modules, key=lambda m: (m.ORDER, m.__name__))
        for claim in module.CLAIMS
    ]


def answer_all(study: Study) -> list[Answered]:
    """Every claim with what the records say to it.

    The claims are about algorithms, so beside the core's records other libraries' do not count:
    they would be judged for their implementations.
    """
    own = [r for r in study.sweeps.records if r["row"].get("backend", "core") == "core"]
    if 0 < len(own) < len(study.sweeps.records):
        study = Study(replace(study.sweeps, records=own))
    return [Answered(claim, claim.check(study)) for claim in all_claims()]
