"""report.html in a real browser: it opens from disk, asks the network for nothing, and its tables work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_render import CASES, html

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    BROWSER is None and os.environ.get("CML_TEST_BROWSER") != "required",
    reason="no Chromium on this machine (Debian: apt-get install chromium); .ci/run requires one",
)
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--enable-logging=stderr",
    "--virtual-time-budget=3000",
)


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert BROWSER, "CML_TEST_BROWSER=required, and there is no Chromium"
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [BROWSER, *OPTIONS, profile, *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@needs_browser
@pytest.mark.parametrize("name", ["typical", "everything", "hostile"])
def test_the_page_works_from_disk_and_breaks_no_rule_of_its_own(name: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(html(CASES[name]()))
    done = browse(page, "--dump-dom")
    assert re.search(r"<th[^>]*><button type=\"button\">", done.stdout), "the script made the heads sortable"
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []


@needs_browser
def test_nothing_sticks_out_on_a_phone(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    # Chromium's own window is never narrower than 500 px; a frame of the page's own width is.
    (tmp_path / "inner.html").write_text(html(CASES["typical"]()))
    page.write_text(
        "<body style='margin:0'><iframe src='inner.html' width='390' height='2000' style='border:0'></iframe><script>"
        "onload = () => { const d = document.querySelector('iframe').contentDocument.documentElement;"
        "document.body.dataset.widths = d.scrollWidth + ' ' + d.clientWidth; }</script>"
    )
    done = browse(page, "--dump-dom", "--allow-file-access-from-files")
    found = re.search(r'data-widths="(\d+) (\d+)"', done.stdout)
    assert found
    assert int(found[1]) <= int(found[2]) <= 390
