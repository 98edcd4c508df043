"""All that can change a number is in the key, and what cannot is not."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bench.command import cli
from bench.errors import BadInput
from bench.sweep import inputs, provenance
from bench.sweep.cell import Cell


def cell(*arguments: str) -> Cell:
    (found,) = cli.cells_of(None, list(arguments), multirun=False)
    return found


def keys(asked: Cell) -> tuple[str, str]:
    """What the cell is on this machine and anywhere."""
    provenance.environment.cache_clear()
    provenance.software.cache_clear()
    inputs._files_hash.cache_clear()
    afresh = replace(asked)
    return afresh.identity, afresh.identity_anywhere


@pytest.fixture(autouse=True)
def afresh() -> object:
    yield
    provenance.environment.cache_clear()
    provenance.software.cache_clear()


@pytest.mark.parametrize(
    ("name", "value", "here", "anywhere"),
    [
        ("JAX_DEFAULT_PRNG_IMPL", "rbg", True, True),
        ("JAX_THREEFRY_PARTITIONABLE", "0", True, True),
        ("JAX_DISABLE_JIT", "1", True, True),
        ("JAX_INVENTED_TOMORROW", "1", True, True),
        ("XLA_INVENTED_TOMORROW", "1", True, True),
        ("NVIDIA_TF32_OVERRIDE", "0", True, True),
        ("OMP_NUM_THREADS", "1", True, False),
        ("OPENBLAS_NUM_THREADS", "1", True, False),
        ("LD_PRELOAD", "", True, False),
        ("XLA_FLAGS", "--xla_x=1", True, False),
        ("JAX_COMPILATION_CACHE_DIR", "here", False, False),
        ("KMP_DUPLICATE_LIB_OK", "True", False, False),
        ("JAX_PLATFORMS", "cpu", False, False),
        ("CUDA_VISIBLE_DEVICES", "", False, False),
        ("JAX_LOG_COMPILES", "1", False, False),
        ("TF_CPP_MIN_LOG_LEVEL", "3", False, False),
        ("TF_CUDNN_DETERMINISTIC", "1", True, True),
        ("TF_VAR_password", "secret", False, False),  # of Terraform
        ("TF_TOKEN_app_terraform_io", "secret", False, False),
        ("TF_CLI_CONFIG_FILE", "here", False, False),
        ("HOME", "elsewhere", False, False),
    ],
)
def test_variables(
    name: str, value: str, here: bool, anywhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = cell()
    monkeypatch.delenv(name, raising=False)
    before = keys(asked)
    monkeypatch.setenv(name, value)
    after = keys(asked)
    assert (before[0] != after[0], before[1] != after[1]) == (here, anywhere)


def test_data_behind_a_path(tmp_path: Path) -> None:
    folder, file = tmp_path / "data", tmp_path / "weights.bin"
    asked = cell().having(
        task={"path": str(folder)}, model={"weights_file": str(file), "kind": "data"}
    )
    found = [keys(asked)]
    folder.mkdir()
    found.append(keys(asked))
    assert found[0] == found[1]  # what is not there is refused elsewhere
    for path, text in (
        (folder / "a.h5", "abc"),
        (folder / "a.h5", "abd"),
        (folder / "b.h5", ""),
        (file, "x"),
        (file, "y"),
    ):
        path.write_text(text)
        found.append(keys(asked))
    (folder / "b.h5").rename(folder / "c.h5")
    found.append(keys(asked))
    assert len(set(found)) == 7
    assert all(len(set(column)) == 7 for column in zip(*found, strict=True))
    (folder / ".index.tmp").write_text("x")
    assert keys(asked) == found[-1]


def test_data_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").touch()

    def refuse(*_: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(inputs.hashlib, "file_digest", refuse)
    inputs._files_hash.cache_clear()
    with pytest.raises(BadInput, match=r"data that can be read; got .*denied"):
        inputs.data_of(cell().having(task={"path": str(tmp_path)}).config)


def test_a_plug_ins_own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in {
        "etb_plug/__init__.py": "",
        "etb_plug/part/model.py": (
            "import json, numpy, core, no_such_module\nfrom .. import helper\n"
            "def f():\n    from etb_beside import g\n"
        ),
        "etb_plug/helper.py": "from . import model2\nfrom .deep import *\n",
        "etb_plug/deep/__init__.py": "def (",
        "etb_plug/stranger.py": "",
        "etb_beside.py": "import etb_plug.part.model",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert {str(path.relative_to(tmp_path)) for path in inputs.sources("etb_plug.part.model")} == {
        "etb_plug/__init__.py",
        "etb_plug/part/model.py",
        "etb_plug/helper.py",
        "etb_plug/deep/__init__.py",
        "etb_beside.py",
    }
    assert inputs.sources("core.algorithms.bptt") == set()
    assert {path.parts[-2] for path in inputs.sources("psutil._common")} == {"psutil"}

    def code() -> str:
        return inputs.code_hash(("etb_plug.part.model.Net",), tmp_path)

    before = code()
    (tmp_path / "core" / "folder.py").mkdir(parents=True)
    (tmp_path / "core" / ".#open.py").symlink_to("nowhere")
    os.mkfifo(tmp_path / "core" / "pipe.py")
    assert code() == before
    (tmp_path / "etb_beside.py").write_text("x = 2")
    assert code() != before


def test_the_repository_is_this_one_whatever_git_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = provenance.git(provenance.ROOT, "rev-parse", "HEAD")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert provenance.git(provenance.ROOT, "rev-parse", "HEAD") == ours
    assert provenance.git(tmp_path, "rev-parse", "no-such") is None
