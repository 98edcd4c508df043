"""Cells run in the order of the plan: the random one is a hash of the code, so that what rests on
it would pass with one commit and fail with the next. It is tested by itself. A cell that is built
in this process sets the precision of jax; the next file has that of before."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from bench.command import compose
from bench.sweep import sweep
from bench.sweep.folder import Folder
from bench.sweep.provenance import ROOT
from tests.kept import kept_programs


@pytest.fixture(autouse=True, scope="session")
def _without_a_link_in_this_checkout() -> Iterator[None]:
    """The newest sweep of whoever works here is none of a test."""
    link = Folder.link_latest

    def elsewhere(folder: Folder) -> None:
        if Path.cwd() != ROOT:
            link(folder)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Folder, "link_latest", elsewhere)
        yield


@pytest.fixture(autouse=True, scope="session")
def _composed_once_for_all_tests() -> Iterator[None]:
    """What Hydra makes of conf/ alone, a tenth of a second each time, is read and never changed.
    Nor are the files there, whose parsing is a seventh of that."""
    real, load = compose.compose, OmegaConf.load
    of_conf = functools.cache(lambda words, _: real("config", [*words], return_hydra_config=True))

    def composed(name: str, words: list[str], **options: bool) -> DictConfig:
        if compose.ConfigDir.folder or any("searchpath" in word for word in words):
            return real(name, words, **options)
        return of_conf(tuple(words), Path.cwd())

    of_file = functools.cache(lambda name: OmegaConf.to_container(load(name)))

    def loaded(file: Any) -> Any:
        shipped = getattr(file, "name", "").startswith(f"{compose.CONF}{os.sep}")
        return OmegaConf.create(of_file(file.name)) if shipped else load(file)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compose, "compose", composed)
        patched.setattr(OmegaConf, "load", loaded)
        yield


@pytest.fixture(autouse=True)
def _in_the_order_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "in_random_order", list)


@pytest.fixture(scope="module")
def kept() -> Iterator[None]:
    """For files that compile much and say nothing about compilation."""
    with kept_programs():
        yield


@pytest.fixture(autouse=True, scope="module")
def _with_the_precision_of_before() -> Iterator[None]:
    jax = sys.modules.get("jax")
    wide = jax is not None and jax.config.jax_enable_x64
    yield
    if jax := sys.modules.get("jax"):
        jax.config.update("jax_enable_x64", wide)
