"""report.html in a real browser: it opens from disk, makes no request, and its tables work with every device."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.browser import CHROMIUM, OPTIONS, Page, browser
from test_render import CASES, PNG, empty, everything, html, metric

from cml.model.report import MetricRow, Report

needs_browser = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("CML_TEST_BROWSER") != "required",
    reason="no Chromium on this machine (Debian: apt-get install chromium); .ci/run requires one",
)
pytestmark = needs_browser


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def many() -> Report:
    """Forty metrics, some with long names, every fourth unchanged."""
    names = ("f1", "eval.by_class.versicolor.recall", "inference.throughput_images_per_second", "loss")
    rows: list[MetricRow] = []
    for place in range(40):
        new = place if place % 4 == 3 else place + 1 - place % 2 * 2
        path = "experiments/2024-05/eval/live/metrics_summary.json"
        rows.append(metric(f"{names[place % 4]}_{place}", place, new, better=new > place or None, path=path))
    return replace(everything(), metrics=tuple(rows), unreadable=())


def show(window: Page, place: Path, report: Report, *, width: int = 1200, dark: bool = False) -> None:
    page = place / "report.html"
    page.write_text(html(report, {"plots/loss.png": PNG, "plots/a.png": PNG, "plots/b.png": PNG}), encoding="utf-8")
    window.open(page, width=width, dark=dark)


def column(window: Page, number: int) -> list[Any]:
    """The cells of a column of the metrics, of the rows that are visible."""
    rows = "[...document.querySelectorAll('#metrics tbody tr')].filter((row) => row.offsetParent)"
    found: list[Any] = window.value(f"{rows}.map((row) => row.cells[{number}].innerText.trim().split('\\n')[0])")
    return found


@pytest.mark.parametrize("name", ["typical", "everything", "hostile"])
def test_the_page_works_from_disk_and_keeps_its_own_security_policy(name: str, tmp_path: Path) -> None:
    assert CHROMIUM
    page = tmp_path / "report.html"
    page.write_text(html(CASES[name]()))
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [CHROMIUM, *OPTIONS, profile, "--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert re.search(r"<th[^>]*><button type=\"button\">", done.stdout), "the script made the headings sortable"
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []


def test_a_table_is_sorted_by_the_keyboard_alone(window: Page, tmp_path: Path) -> None:
    show(window, tmp_path, many())
    own = column(window, 0)
    head = "document.querySelectorAll('#metrics thead th')[2]"
    window.value(f"{head}.querySelector('button').focus()")
    window.press("Enter")
    assert window.value(f"{head}.getAttribute('aria-sort')") == "ascending"
    assert column(window, 2) == sorted(column(window, 2), key=int)
    window.press(" ")
    assert window.value(f"{head}.getAttribute('aria-sort')") == "descending"
    assert column(window, 2) == sorted(column(window, 2), key=int, reverse=True)
    window.press("Enter")
    assert window.value("document.querySelectorAll('[aria-sort]').length") == 0
    assert column(window, 0) == own
    window.press("Tab")
    assert window.value("document.activeElement.innerText") == "new"
    window.press("Enter")
    assert window.value(f"{head}.getAttribute('aria-sort')") is None, "one column at a time"


def test_values_that_are_not_numbers_are_sorted_last(window: Page, tmp_path: Path) -> None:
    rows = [metric("a", 1, 10), metric("b", 1, "text"), metric("c", 1, -9), metric("d", 1, 1e300), metric("e", 1, 9)]
    show(window, tmp_path, replace(empty(), metrics=tuple(rows)))
    window.value("document.querySelectorAll('#metrics thead button')[3].focus()")
    window.press("Enter")
    assert column(window, 0) == ["c", "e", "a", "d", "b"]
    window.press("Enter")
    assert column(window, 0) == ["d", "a", "e", "c", "b"]


def test_a_search_shows_matching_rows_and_their_number(window: Page, tmp_path: Path) -> None:
    show(window, tmp_path, many())
    assert len(column(window, 0)) == 30, "unchanged rows are hidden"
    window.value("document.querySelector('#metrics input[type=search]').focus()")
    window.type("LOSS ")
    assert len(column(window, 0)) == 10, "a search finds hidden rows"
    assert window.value("document.querySelector('#metrics [role=status]').innerText") == "10 of 40"
    window.type("_7")
    assert column(window, 0) == ["loss_7"]
    window.value("document.querySelector('#metrics input[type=search]').select()")
    window.type("nothing like it")
    assert column(window, 0) == []
    assert window.value("document.querySelector('#metrics [role=status]').innerText") == "0 of 40"


def test_unchanged_rows_can_be_shown(window: Page, tmp_path: Path) -> None:
    show(window, tmp_path, many())
    window.value("document.querySelector('#metrics input[type=checkbox]').focus()")
    window.press(" ")
    assert len(column(window, 0)) == 40


@pytest.mark.parametrize("width", [390, 1200])
def test_a_screen_reader_gets_tables_with_headings(window: Page, tmp_path: Path, width: int) -> None:
    show(window, tmp_path, many(), width=width)
    window.value("document.querySelector('#metrics thead button').focus()")
    window.press("Enter")
    heard = window.accessible_nodes()
    roles = Counter(node["role"] for node in heard)
    assert roles["table"] == 5
    assert roles["rowheader"] >= 30
    assert {"metric", "old", "new", "diff", "stage", "experiment"} <= {
        node["name"].rstrip(" ↕↑↓") for node in heard if node["role"] == "columnheader"
    }
    assert {"Metrics table", "Data table"} <= {node["name"] for node in heard if node["role"] == "region"}
    assert {"Search metrics"} == {node["name"] for node in heard if node["role"] == "searchbox"}
    assert roles["status"] >= 1
    assert all(node["name"] for node in heard if node["role"] in ("image", "link", "button", "checkbox"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("report", [CASES["typical"](), many(), CASES["hostile"]()], ids=["typical", "many", "hostile"])
def test_nothing_is_wider_than_a_phone(window: Page, tmp_path: Path, report: Report, *, dark: bool) -> None:
    show(window, tmp_path, report, width=390, dark=dark)
    assert window.value("document.documentElement.scrollWidth") <= 390
    assert window.value("document.querySelector('#metrics .scroll').scrollWidth") <= 390 - 2 * 11
    light = window.value("getComputedStyle(document.body).backgroundColor") == "rgb(246, 247, 249)"
    assert light is not dark


def test_gpu_usage_is_visible_on_a_phone_without_scrolling(window: Page, tmp_path: Path) -> None:
    show(window, tmp_path, CASES["gpu"](), width=390)
    assert window.value("document.querySelector('#pipeline .scroll').scrollWidth") <= 390 - 2 * 11
    assert "GPU: 4 \N{MULTIPLICATION SIGN} 71.4 GiB" in window.value("document.querySelector('#pipeline').innerText")
    show(window, tmp_path, CASES["gpu"](), width=1200)
    assert "GPU: " not in window.value("document.querySelector('#pipeline').innerText")


def test_names_break_after_separators_on_a_phone(window: Page, tmp_path: Path) -> None:
    show(window, tmp_path, many(), width=390)
    lines = window.value(
        "(() => { const name = document.querySelector('#metrics tbody .under'); const range = new Range(); const lines = {};"
        "const walk = document.createTreeWalker(name, NodeFilter.SHOW_TEXT);"
        "while (walk.nextNode()) for (let i = 0; i < walk.currentNode.length; i++) { range.setStart(walk.currentNode, i);"
        "range.setEnd(walk.currentNode, i + 1); const top = Math.round(range.getBoundingClientRect().top);"
        "lines[top] = (lines[top] || '') + range; } return Object.values(lines) })()"
    )
    assert "".join(lines) == "experiments/2024-05/eval/live/metrics_summary.json"
    assert all(re.search(r"[/_.-]$", line) for line in lines[:-1]), lines
