"""Where a report is written: what no report wrote stays, and files come whole."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from reports import output
from reports.errors import InputError


def write(target: Path, *drawings: str, page: str = "page") -> None:
    with output.staged(target) as stage:
        (stage / "results.csv").write_text("a\n1\n")
        for name in ("index.html", *drawings):
            (stage / "report" / name).write_text(page)


def names(target: Path) -> set[str]:
    return {str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir()}


def test_pictures_of_the_users_own_stay_and_an_earlier_reports_go(tmp_path: Path) -> None:
    paper, elsewhere = tmp_path / "paper", tmp_path / "elsewhere.svg"
    (paper / "report").mkdir(parents=True)
    elsewhere.write_text("mine")
    for own in ("mine.svg", "photo.png"):
        (paper / "report" / own).write_text("mine")
    (paper / "report" / "link.svg").symlink_to(elsewhere)
    write(paper, "a.svg", "a.png")
    write(paper, "b.svg")
    assert names(paper) == {
        "results.csv",
        "report/index.html",
        "report/b.svg",
        "report/mine.svg",
        "report/photo.png",
        "report/link.svg",
        output.MANIFEST,
    }
    assert elsewhere.read_text() == (paper / "report" / "mine.svg").read_text() == "mine"


@pytest.mark.parametrize("name", ["results.csv", "report/index.html", "report/a.svg"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_file_that_no_report_wrote_is_not_replaced(
    name: str, linked: bool, tmp_path: Path
) -> None:
    paper, target = tmp_path / "paper", tmp_path / "elsewhere"
    (paper / "report").mkdir(parents=True)
    target.write_text("mine")
    (paper / name).symlink_to(target) if linked else (paper / name).write_text("mine")
    with pytest.raises(InputError, match=f"{name}, which no report wrote. Move it away"):
        write(paper, "a.svg")
    assert (paper / name).read_text() == target.read_text() == "mine"
    assert names(paper) == {name}


def test_a_link_in_place_of_a_drawing_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.svg"
    target.write_text("mine")
    write(tmp_path / "out", "a.svg", "b.svg")
    for name in ("a.svg", "b.svg"):
        (tmp_path / "out" / "report" / name).unlink()
        (tmp_path / "out" / "report" / name).symlink_to(target)
    write(tmp_path / "out", "a.svg")
    assert target.read_text() == "mine"
    assert not (tmp_path / "out" / "report" / "a.svg").is_symlink()
    assert (tmp_path / "out" / "report" / "b.svg").is_symlink()


def test_a_folder_that_is_a_link_keeps_what_is_in_it(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "mine.png").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report").symlink_to(pictures)
    write(tmp_path / "out", "a.svg")
    assert (pictures / "mine.png").read_text() == "mine"
    assert (pictures / "a.svg").exists()


@pytest.mark.parametrize("listed", [
    ["../mine", "report/../../mine", "cells/k.json", "report", "", "\0", 3, None],
    None, 3, {"a": 1}, "[" * 100_000, "\udcff",
])  # fmt: skip
def test_a_manifest_names_nothing_outside(listed: object, tmp_path: Path) -> None:
    out, mine = tmp_path / "out", tmp_path / "mine"
    write(out)
    (out / "cells").mkdir()
    for path in (mine, out / "cells" / "k.json"):
        path.write_text("mine")
    manifest = out / output.MANIFEST
    (out / "report" / "index.html").write_bytes(b"")
    text = listed if isinstance(listed, str) else json.dumps(listed)
    manifest.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="which no report wrote"):
        write(out)
    assert mine.exists()
    assert (out / "cells" / "k.json").exists()


def test_several_at_once_leave_one_whole_report(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def again(drawing: str) -> None:
        try:
            for _ in range(20):
                write(tmp_path, "both.svg", drawing)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=again, args=(f"{i}.svg",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    listed = set(json.loads((tmp_path / output.MANIFEST).read_text()))
    assert names(tmp_path) == {*listed, output.MANIFEST}
    assert len(listed) == 4


def test_what_is_told_replaces_a_link_and_writes_to_a_device(tmp_path: Path) -> None:
    mine, link = tmp_path / "mine", tmp_path / "made" / "link"
    mine.write_text("mine")
    link.parent.mkdir()
    link.symlink_to(mine)
    output.tell("told", link)
    assert (mine.read_text(), link.read_text(), link.is_symlink()) == ("mine", "told", False)
    output.tell("told", Path("/dev/null"))
    assert Path("/dev/null").is_char_device()
    assert names(tmp_path) == {"mine", "made/link"}
