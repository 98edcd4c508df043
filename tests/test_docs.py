"""The documentation as a site."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FETCHED = re.compile(r'<(?:script|img|link rel="(?:stylesheet|icon)")[^>]*(?:src|href)="https?:')


def test_the_site_builds_without_a_warning_and_needs_no_network(tmp_path: Path) -> None:
    """A link that leads nowhere, or a docstring that names no argument, would be a warning."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = {page.name: page.read_text(encoding="utf-8") for page in tmp_path.glob("*.html")}
    assert {file.stem for file in (ROOT / "docs").glob("*.md")} <= {Path(p).stem for p in pages}
    assert "MultiStepData" in pages["api.html"]
    assert [name for name, text in pages.items() if FETCHED.search(text)] == []
