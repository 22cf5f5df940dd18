"""Reports in every form: golden files, hostile names, size limits, exports.

`UPDATE_GOLDEN=1 pytest tests/test_render.py` writes tests/golden anew; read the difference before you commit it.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import fields, replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from cml.config.number_format import DEFAULT, NumberFormat
from cml.model.json import render_json
from cml.model.report import (
    Baseline,
    DataChanges,
    DataEntry,
    Experiment,
    Failure,
    GateResult,
    GpuUsage,
    MetricRow,
    ParamRow,
    PipelineSection,
    Plot,
    PlotImage,
    Report,
    StageRun,
    UnreadableFile,
    Value,
    status_of,
)
from cml.report import escape, formatting
from cml.report.html import render_html
from cml.report.i18n import translations_of
from cml.report.markdown import render_markdown
from cml.report.number_writer import write_value
from cml.report.openmetrics import render_openmetrics
from cml.report.sections.rows import MAX_ROWS
from cml.report.terminal import render_terminal
from cml.report.truncation import LEAST_IMPORTANT_FIRST
from cml.report.view_builder import build_view

GOLDEN = Path(__file__).parent / "golden"
FORMAT = NumberFormat.parse(DEFAULT)
PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
NEW, OLD = "b8c5161f" + "0" * 32, "723ae21a" + "0" * 32
LOG = "\n".join(
    [
        "\x1b[32mepoch 1\x1b[0m",
        " 10%|#         |\r100%|##########|",
        "::error::not a command of ours",
        "```",
        "</details><img src=x>",
        "MemoryError: out of memory",
    ]
)


def markdown(
    report: Report,
    *,
    limit: int | None = None,
    template: str | None = None,
    locale: str = "en",
    urls: dict[str, str] | None = None,
) -> str:
    return render_markdown(
        report, number_format=FORMAT, locale=locale, user_template=template, limit=limit, image_urls=urls
    )


def html(report: Report, images: dict[str, bytes] | None = None, *, locale: str = "en") -> str:
    return "".join(render_html(report, number_format=FORMAT, locale=locale, images=images or {}))


def terminal(report: Report, *, locale: str = "en") -> str:
    return render_terminal(report, number_format=FORMAT, locale=locale)


def as_json(report: Report) -> str:
    return "".join(render_json(report))


def as_openmetrics(report: Report) -> str:
    return "".join(render_openmetrics(report))


def metric(name: str, old: Value, new: Value, *, better: bool | None = None, path: str = "metrics.json") -> MetricRow:
    status = status_of(old, new, has_old=old != "absent", has_new=new != "absent")
    old, new = (None if side == "absent" else side for side in (old, new))
    return MetricRow(path=path, name=name, old=old, new=new, status=status, better=better)


def param(name: str, old: Value, new: Value, path: str = "params.yaml") -> ParamRow:
    return ParamRow(path=path, name=name, old=old, new=new, status=status_of(old, new, has_old=True, has_new=True))


def experiment(place: int, name: str, accuracy: float) -> Experiment:
    return Experiment(
        name=name,
        sha=f"{place:x}" * 40,
        subject=f"Try number {place}",
        author="Ada Lovelace",
        date=f"2024-05-{20 - place:02d}T12:30:00+02:00",
        url=f"https://forge.example/runs/{place}?a=1&b=2",
        is_current=place == 1,
        metrics={("metrics.json", "accuracy"): accuracy, ("metrics.json", "loss"): 1 - accuracy},
    )


def empty() -> Report:
    return Report(
        name="DVC Report",
        verdict="none",
        sha=NEW,
        baseline=Baseline(name="origin/main", sha=OLD, reason="the target branch"),
    )


def typical() -> Report:
    return replace(
        empty(),
        verdict="passed",
        metrics=(
            metric("accuracy", 0.9167, 0.9321, better=True),
            metric("loss", 0.3112, 0.3325, better=False),
            metric("rows", 150, 152),
            metric("recall", 0.92, 0.92),
        ),
        gates=(GateResult(rule="accuracy >= 0.9", path="metrics.json", metric="accuracy", value=0.9321, passed=True),),
        params=(param("train.lr", 0.001, 0.0005), param("seed", 1, 1)),
        data=DataChanges(modified=(DataEntry(path="model.pkl", old_size=10_200_000, new_size=10_900_000),)),
        pipeline=PipelineSection(
            stages=(
                StageRun(name="prepare", status="up to date"),
                StageRun(name="featurize", status="restored", seconds=0.4),
                StageRun(name="train", status="ran", seconds=184.6),
            ),
            edges=(("prepare", "featurize"), ("featurize", "train")),
        ),
        experiments=(experiment(1, "dvc_b8c5161", 0.9321), experiment(2, "dvc_99af012", 0.9), experiment(3, "x", 0.88)),
        run_url="https://forge.example/runs/1",
        compare_url="https://forge.example/compare/a...b",
    )


def spread() -> Report:
    """A pipeline that ran in five jobs."""
    small, big = "GitHub Actions 7, 4 cores", "gpu-box-2, 32 cores"
    stages = (
        StageRun(name="prepare", status="ran", seconds=21.4, job="prepare", machine=small),
        StageRun(name="train@small", status="ran", seconds=84.6, job="train@small +1", machine=small),
        StageRun(name="score@small", status="ran", seconds=3.1, job="train@small +1", machine=small),
        StageRun(
            name="train@large", status="ran", seconds=5184.6, gpu=usage(7.4, 0.91), job="train@large +1", machine=big
        ),
        StageRun(name="score@large", status="restored", seconds=0.4, job="train@large +1", machine=big),
        StageRun(name="fetch", status="up to date"),
    )
    return replace(typical(), pipeline=PipelineSection(stages=stages, edges=(("prepare", "train@small"),)))


def gpu() -> Report:
    stages = (
        StageRun(name="train", status="ran", seconds=1184.6, gpu=usage(7.4, 0.873)),
        StageRun(name="tune@large-model", status="ran", seconds=5184.6, gpu=usage(71.42, None, devices=4)),
        StageRun(name="check", status="failed", seconds=11.6, gpu=usage(1.4, 1.0)),
        StageRun(name="plot", status="up to date"),
    )
    return replace(typical(), pipeline=PipelineSection(stages=stages, edges=(("train", "check"),)))


def usage(gibibytes: float, utilization: float | None, *, devices: int = 1) -> GpuUsage:
    return GpuUsage(devices=devices, peak_memory=int(gibibytes * 2**30), utilization=utilization)


def everything() -> Report:
    """Every kind of row there is."""
    curve = tuple(2 * math.exp(-step / 6) for step in range(30))
    odd = (
        metric("best", "setosa", "virginica"),
        metric("new_one", "absent", 0.5),
        metric("old_one", 1, "absent"),
        metric("odd.nan", math.nan, 1.5),
        metric("odd.null", None, 2),
        metric("odd.flag", False, True),
        metric("odd.huge", 1.0, math.inf),
        metric("", "", " text "),
    )
    gates = (
        GateResult(rule="loss change <= 5%", path="metrics.json", metric="loss", value=6.84447, passed=False),
        GateResult(rule="none_such > 1", path=None, metric=None, value=None, passed=True),
        GateResult(rule="best > 1", path="metrics.json", metric="best", value=None, passed=False),
    )
    plots = (
        Plot(
            title="loss",
            images=(PlotImage(file="plots/loss.png", label="", width=600, height=300),),
            points=(("baseline", curve), ("current", tuple(each * 0.9 for each in curve))),
        ),
        Plot(title="shorter", points=(("baseline", (1.0, 2.0, math.nan)), ("current", (1.0, 3.0)))),
        Plot(
            title="confusion",
            images=(
                PlotImage(file="plots/a.png", label="baseline", width=300, height=300),
                PlotImage(file="plots/b.png", label="current", width=300, height=300),
            ),
        ),
        Plot(title="roc", problem="roc.csv has no column 'fpr'"),
    )
    data = DataChanges(
        added=(DataEntry(path="data/extra", new_size=1_234_567, files=120, biggest=("data/extra/1.png",)),),
        modified=(DataEntry(path="model.pkl", old_size=10_200_000, new_size=10_900_000), DataEntry(path="unknown")),
        deleted=(DataEntry(path="old.csv", old_size=999),),
        renamed=(DataEntry(path="raw/b.csv", old_path="raw/a.csv", old_size=5, new_size=5),),
    )
    base = typical()
    assert base.pipeline
    prepare, featurize, train = base.pipeline.stages
    rest = (StageRun(name="check", status="frozen"), StageRun(name="export@onnx", status="not run"))
    stages = (prepare, featurize, replace(train, gpu=usage(7.4, 0.873)), *rest)
    return replace(
        base,
        verdict="failed",
        has_workspace_changes=True,
        metrics=(*(base.metrics or ()), *odd),
        gates=(*base.gates, *gates),
        unreadable=(
            UnreadableFile(path="broken.yaml", side="new", reason="line 3: mapping values are not allowed here"),
            UnreadableFile(path="broken.json", side="old", reason="it is not JSON"),
        ),
        plots=plots,
        data=data,
        pipeline=replace(base.pipeline, stages=stages),
        warnings=("the comment could not be written: 403, give the job `pull-requests: write`",),
    )


def failure() -> Report:
    return replace(
        typical(),
        verdict="failed",
        gates=(),
        metrics=(metric("accuracy", 0.9167, 0.9167), metric("loss", 0.3112, 0.3112)),
        params=(),
        data=DataChanges(),
        experiments=(),
        pipeline=PipelineSection(
            stages=(
                StageRun(name="prepare", status="ran", seconds=1.24),
                StageRun(name="train", status="failed", seconds=61),
                StageRun(name="evaluate", status="not run"),
            ),
        ),
        failure=Failure(step="reproduce", message="stage 'train' exited with 137", log_tail=LOG),
    )


def first() -> Report:
    metrics = (metric("accuracy", "absent", 0.9321), metric("loss", "absent", 0.3325))
    hint = "Set tag_prefix (for example dvc_) to tag results and list the latest experiments here"
    params = (ParamRow(path="params.yaml", name="lr", old=None, new=0.1, status="added"),)
    return replace(empty(), baseline=None, metrics=metrics, params=params, experiments_hint=hint)


def identical() -> Report:
    same = Baseline(name="HEAD", sha=NEW, reason="set by the user")
    metrics = (metric("accuracy", 0.9321, 0.9321), metric("loss", 0.3325, 0.3325))
    return replace(empty(), baseline=same, metrics=metrics, params=(param("lr", 0.1, 0.1),))


HOSTILE = "|a|`](http://evil.example) <img src=x> @octocat #12 \u202egnp\u200b.exe\x00\n::error::x ##[group] ![i](x)"


def hostile(name: str = HOSTILE, *, rows: int = 2) -> Report:
    """A report in which every text from the repository is `name`."""
    stages = (StageRun(name=f"{name}0", status="ran", seconds=1), StageRun(name=f"{name}1", status="failed"))
    one = Plot(
        title=name, images=(PlotImage(file=name, label=name, width=1, height=1),), points=((name, (1.0, 2.0, 3.0)),)
    )
    entry = DataEntry(path=name, old_path=name, old_size=1, new_size=2, files=2, biggest=(name, name))
    return Report(
        name=name,
        verdict="failed",
        sha=NEW,
        baseline=Baseline(name=name, sha=OLD, reason=name),
        metrics=(
            *(metric(name, 1, 2, better=True, path=f"{name}{row}") for row in range(rows)),
            MetricRow(path=name, name=name, old=name, new=f"{name}x", status="changed"),
            MetricRow(path=name, name=name, old=name, new=name, status="unchanged"),
        ),
        params=(param(name, name, f"{name}x", path=name), param(name, name, name, path=name)),
        unreadable=(UnreadableFile(path=name, side="new", reason=name),),
        gates=(
            GateResult(rule=f"{name} > 1", path=name, metric=name, value=0.5, passed=False),
            GateResult(rule=f"{name} > 0", path=name, metric=name, value=0.5, passed=True),
        ),
        plots=(one, Plot(title=name, problem=name)),
        data=DataChanges(added=(entry,), modified=(entry,), deleted=(entry,), renamed=(entry,)),
        pipeline=PipelineSection(stages=stages, edges=((f"{name}0", f"{name}1"),)),
        experiments=(
            replace(experiment(1, name, 0.5), author=name, subject=name, date=name, metrics={(name, name): 1.0}),
            replace(experiment(2, name, 0.5), author=name, url=None, metrics={(name, name): name}),
        ),
        failure=Failure(step="reproduce", message=name, log_tail=f"log\n{name}"),
        warnings=(name,),
        run_url="https://forge.example/runs/1",
    )


def big(rows: int = 60) -> Report:
    base = everything()
    many = tuple(metric(f"class_{row}.f1", 0.5, 0.5 + (row % 3 - 1) / 100, better=row % 3 == 2) for row in range(rows))
    still = tuple(metric(f"class_{row}.size", row, row) for row in range(rows))
    params = tuple(param(f"p{row}", row, row + row % 2) for row in range(rows))
    added = tuple(DataEntry(path=f"data/images/{row:05d}.png", new_size=row) for row in range(rows * 3))
    return replace(
        base,
        metrics=(*(base.metrics or ()), *many, *still),
        params=params,
        data=DataChanges(added=added),
        warnings=tuple(f"warning number {row}" for row in range(rows)),
        failure=Failure(step="push", message="refused", log_tail="\n".join(f"line {row}" for row in range(rows))),
    )


CASES: dict[str, Callable[[], Report]] = {
    "typical": typical,
    "everything": everything,
    "failure": failure,
    "gpu": gpu,
    "spread": spread,
    "no_baseline": first,
    "identical": identical,
    "empty": empty,
    "hostile": hostile,
}


# --- golden files

# In the order in which reports have them. A golden file shows how one section looks in every case, as Markdown and on
# a terminal, so that a change of a section changes one file.
MARKDOWN_SECTIONS = ["header", "metrics", "params", "plots", "data", "pipeline", "experiments", "warnings", "footer"]
TERMINAL_SECTIONS = ["header", "metrics", "params", "gates", "data", "pipeline", "warnings", "end of the log"]


def sections_of_markdown(text: str) -> dict[str, str]:
    """The sections of a report, by the names of their headings."""
    sections = {"header": ""}
    name, fence = "header", ""
    for line in text.splitlines(keepends=True):
        ticks = re.match("`{3,}", line)
        if ticks and not fence:
            fence = ticks[0]
        elif line.strip() == fence:
            fence = ""
        if line.startswith("### ") and not fence:
            name = line.removeprefix("### ").strip().lower()
        elif line.startswith("<sub>Full report") and not fence:
            name = "footer"
        sections[name] = sections.get(name, "") + line
    assert "".join(sections.values()) == text, "each section is in one place"
    return sections


def sections_of_terminal(text: str) -> dict[str, str]:
    """The sections of a report on a terminal, by their first lines."""
    header, *blocks = text.split("\n\n")
    sections = {"header": header, **{block.partition("\n")[0].lower(): block for block in blocks}}
    assert "\n\n".join(sections.values()) == text, "each section is in one place"
    return sections


def golden(section: str) -> str:
    """How a section looks in every case; cases in which it looks the same are named together."""
    kinds = {"Markdown": (markdown, sections_of_markdown), "Terminal": (terminal, sections_of_terminal)}
    parts = []
    for kind, (render, split) in kinds.items():
        looks: dict[str, list[str]] = {}
        for case, report in CASES.items():
            text = split(render(report())).get(section, "").strip("\n")
            if text:
                looks.setdefault(text, []).append(case)
        for text, cases in looks.items():
            shown = text if kind == "Markdown" else f"~~~~~~text\n{text}\n~~~~~~"
            parts.append(f"<!-- {kind}: {', '.join(cases)} -->\n\n{shown}\n")
    return "\n".join(parts)


def assert_golden(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.md"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"UPDATE_GOLDEN=1 writes {path.name} anew"


@pytest.mark.parametrize("section", dict.fromkeys(MARKDOWN_SECTIONS + TERMINAL_SECTIONS))
def test_a_section_reads_as_its_golden_file(section: str) -> None:
    assert_golden(section.replace(" ", "_"), golden(section))


@pytest.mark.parametrize("case", CASES)
def test_the_sections_of_a_report_are_in_order(case: str) -> None:
    for found, expected in (
        (sections_of_markdown(markdown(CASES[case]())), MARKDOWN_SECTIONS),
        (sections_of_terminal(terminal(CASES[case]())), TERMINAL_SECTIONS),
    ):
        assert list(found) == [name for name in expected if name in found]


def test_a_report_renders_the_same_each_time() -> None:
    for case in CASES.values():
        assert markdown(case()) == markdown(case())
        assert terminal(case()) == terminal(case())


@pytest.mark.parametrize("case", CASES)
def test_markdown_is_tidy(case: str) -> None:
    text = markdown(CASES[case]())
    assert not re.search(r"[ \t]$", text, re.MULTILINE)
    assert "\n\n\n" not in text
    assert text.endswith("\n")
    text = re.sub(r"^(```+).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"^[^|\n].*\n\|", text, re.MULTILINE), "a table needs an empty line before it"
    assert not re.search(r"^\|.*\n[^|\n]", text, re.MULTILINE), "a table needs an empty line after it"


@pytest.mark.parametrize(
    ("rows", "first_line"),
    [
        ((metric("a", 1, 2, better=True), metric("b", 1, 2, better=False)), "🟡 **1 metric better, 1 worse**"),
        ((metric("a", 1, 2, better=True), metric("b", 2, 3, better=True)), "🟢 **2 metrics better**"),
        ((metric("a", 1, 2, better=False), metric("b", "x", "y")), "🔴 **1 metric worse, 1 changed**"),
        ((metric("a", 1, 1), metric("b", 1, 1)), "⚪ **2 metrics unchanged**"),
        ((metric("a", "absent", 1), metric("b", 1, "absent")), "⚪ **1 metric new, 1 removed**"),
        ((), "⚪ **No metrics**"),
    ],
)
def test_without_gates_the_verdict_says_what_changed(rows: tuple[MetricRow, ...], first_line: str) -> None:
    assert markdown(replace(empty(), metrics=rows)).split("\n")[2] == first_line


def test_the_headline_names_the_biggest_changes() -> None:
    rows = tuple(metric(f"m{row}", 100, 100 + row, better=True) for row in range(1, 6))
    assert "- 🟢\u00a0better: m5 **+5**, m4 **+4**, m3 **+3**, 2 more\n" in markdown(replace(empty(), metrics=rows))


def plots_of(urls: dict[str, str]) -> str:
    return markdown(everything(), urls=urls).split("### Plots\n")[1].split("### Data")[0]


def test_an_image_with_an_address_is_shown_and_the_others_are_named() -> None:
    text = plots_of({"plots/loss.png": "https://forge.example/i/1.png?a=1&b=2"})
    assert "\n**loss**\n\n![loss](https://forge.example/i/1.png?a=1&amp;b=2)\n" in text
    assert "Chart: loss" not in text, "the image replaces it"
    assert "- `confusion`: `plots/a.png`, `plots/b.png`\n" in text
    assert "plots/loss.png" not in text


def test_both_sides_of_an_image_plot_are_in_one_row() -> None:
    both = plots_of({"plots/a.png": "/uploads/1/a.png", "plots/b.png": "/uploads/2/b.png"})
    head = "\n**confusion**\n\n| baseline | current |\n| :---: | :---: |\n"
    assert f"{head}| ![confusion, baseline](/uploads/1/a.png) | ![confusion, current](/uploads/2/b.png) |\n\n" in both
    one = plots_of({"plots/b.png": "/uploads/2/b.png"})
    assert f"{head}| `plots/a.png` | ![confusion, current](/uploads/2/b.png) |\n\n" in one
    new = replace(everything(), plots=(Plot(title="new", images=((everything().plots or ())[2].images[1:])),))
    assert "\n![new](/x.png)\n<sub>current</sub>\n" in markdown(new, urls={"plots/b.png": "/x.png"})


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:image/png;base64,AA", "//evil.example/x", "/\\evil/x", ""]
)
def test_only_web_addresses_and_paths_on_the_forge_show_an_image(url: str) -> None:
    assert plots_of({"plots/loss.png": url}) == plots_of({})


def test_a_section_that_is_switched_off_is_not_shown() -> None:
    text = markdown(replace(typical(), metrics=None, gates=(), params=None, plots=None, data=None, pipeline=None))
    assert "### Experiments" in text
    assert not {"### Metrics", "### Params", "### Plots", "### Data", "### Pipeline"} & set(text.split("\n"))


def test_numbers_are_in_the_format_of_the_locale() -> None:
    text = markdown(typical(), locale="de")
    assert "| metrics.json | accuracy | 0,9167 | 0,9321 | +0,0154 |" in text
    assert "9,7 MiB → 10,4 MiB" in text
    assert "| featurize | aus dem Cache | 0,4 s |" in text


# --- names are only text

FRAGMENTS = [
    *"|`*_[]()<>!#@~&$%^{}\"'\\/-+=.:;, \t\n\r\x00\x1b\x0b\x85",
    "a", "0", "__", "```", "~~~", "](x)", "![i](x)", "[l](http://evil.example)", "<b>", "</details>", "<!--", "-->",
    "<script>", "&lt;", "&#64;", "https://evil.example/x", "www.evil.example", "me@evil.example", "@octocat", "#123",
    "GH-1", "!12", "%3", "~bug", "$x$", "$`x`$", ":tada:", "{+x+}", "[[_TOC_]]", "[^1]", "deadbee1", "0" * 40, "é",
    "::error::", "##[group]", "##vso[x]", "| --- |", "|---|", "\n\n", "\n| a |", "---", "===", "1. ", "- ", "> ", "# ",
    "\u202e", "\u2066", "\u200b", "\u200d", "\u00ad", "\ufeff", "\u2028", "\udcff", "\U000e0041", "e\u0301\u0301\u0301\u0301",
    "日本", "👩‍👩‍👧", "%%{init: {}}%%", "end", "\"]; click s0", "{{ 7*7 }}", "{% x %}", "]]>", "\\|", "`|`",
]  # fmt: skip
NAMES = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.characters()), min_size=1, max_size=12).map("".join)
READER = MarkdownIt("gfm-like", {"html": True, "linkify": False})
HIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e0fff]"
)
REFERENCES = re.compile(r"(?<!\w)@\w|#\d|https?://|\bwww\.|\bGH-\d|[\w.]@[\w-]+\.\w|!\d|[%~$]\w|:\w+:")


def structure(text: str) -> list[tuple[str, str]]:
    """The structure of rendered Markdown, without its text."""

    def flat(tokens: list[Token]) -> list[Token]:
        return [each for token in tokens for each in (token, *flat(token.children or []))]

    found: list[tuple[str, str]] = []
    for token in flat(READER.parse(text)):
        if token.type in ("text", "text_special", "code_inline") or token.content in ("<code>", "</code>", "<wbr>"):
            continue
        is_ours = token.type in ("html_inline", "html_block")
        tags = re.sub(r"(<summary>).*(</summary>)", r"\1\2", token.content) if is_ours else token.info
        found.append((token.type, tags + str(token.attrs.get("href", ""))))
    return found


def words(text: str) -> str:
    """The text in which a forge looks for references: everything outside of code."""
    children = [
        child for token in READER.parse(text) if token.type == "inline" for child in [*(token.children or []), token]
    ]
    return "".join(child.content if child.type in ("text", "text_special") else "\n" for child in children)


@settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(NAMES)
@example(" ")
def test_a_name_never_changes_the_markdown(name: str) -> None:
    text = markdown(hostile(name))
    assert structure(text) == structure(markdown(hostile("plain")))
    shown = markdown(hostile(name), urls={name: "/uploads/x.png"})
    assert structure(shown) == structure(markdown(hostile("plain"), urls={"plain": "/uploads/x.png"}))
    assert not REFERENCES.search(words(text))
    assert not re.search(r"^\s*::|##\[|##vso\[", text, re.MULTILINE)
    assert not HIDDEN.search(text)
    text.encode("utf-8")


@settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(NAMES)
def test_a_name_never_changes_html_terminal_or_exports(name: str) -> None:
    report = hostile(name)
    assert tags(html(report)) == tags(html(hostile("plain")))
    lines = terminal(report).split("\n")
    assert lines.index("End of the log") == terminal(hostile("plain")).split("\n").index("End of the log")
    assert not [line for line in lines if re.search(r"^\s*::|##\[", line)]
    assert len(as_openmetrics(report).encode().decode().split("\n")) == len(
        as_openmetrics(hostile("plain")).split("\n")
    )
    json.loads(as_json(report).encode())


def test_ten_thousand_hostile_names_stay_in_their_cells() -> None:
    chance = random.Random(7)
    names = ("".join(chance.choices(FRAGMENTS, k=chance.randint(1, 8))) for _ in range(10_000))
    rows = tuple(
        MetricRow(path=a, name=b, old=c, new=d, status="changed") for a, b, c, d in zip(*[names] * 4, strict=True)
    )
    for start in range(0, len(rows), MAX_ROWS):
        some = rows[start : start + MAX_ROWS]
        text = markdown(replace(empty(), metrics=some))
        found = [kind for kind, _ in structure(text)]
        assert found.count("td_open") == 5 * len(some)
        rows_alone = found[found.index("tbody_open") : found.index("tbody_close")]
        assert set(rows_alone) == {"tbody_open", "tr_open", "td_open", "inline", "td_close", "tr_close"}
        assert not REFERENCES.search(words(text))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("val_loss", "val_loss"),
        ("a__b", "a__b"),
        ("__init__", "&#95;&#95;init&#95;&#95;"),
        ("train@0", "train@0"),
        ("@team/x", "@&#8203;team/x"),
        ("metrics.json", "metrics.json"),
        ("dvc_b8c5161", "dvc_b8c5161"),
        ("b8c5161", "b8c516&#8203;1"),
        ("f1-score", "f1-score"),
        ("-0.5", "-0.5"),
        ("- x", "&#45; x"),
        ("1. x", "1&#46; x"),
        ("p<0.05 & q", "p&lt;0.05 &amp; q"),
        ("a|b", "a&#124;b"),
        ("two\nlines", "two&#92;nlines"),
        ("\udcff.csv", "&#92;xff.csv"),
        ("می‌خواهم", "می‌خواهم"),
    ],
)
def test_text_is_escaped_no_more_than_needed(value: str, text: str) -> None:
    assert escape.text(value) == text


def test_a_long_name_may_break_after_a_separator_in_a_table() -> None:
    assert escape.cell("eval/metrics.json") == "eval/metrics.json"
    assert escape.cell("eval.by_class.versicolor.precision") == "eval.by_class.<wbr>versicolor.precision"
    assert escape.cell("x" * 40) == "x" * 40
    assert escape.breakable("a.b_c <1.5>") == "a.<wbr>b_<wbr>c &lt;1.<wbr>5&gt;"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://forge.example/a?b=1&c=2", "https://forge.example/a?b=1&c=2"),
        ("https://forge.example/a)b (c", "https://forge.example/a%29b%20%28c"),
        ('https://forge.example/"><x', "https://forge.example/%22%3E%3Cx"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("https://[bad", None),
        ("", None),
        (None, None),
    ],
)
def test_only_web_addresses_become_links(url: str | None, kept: str | None) -> None:
    assert escape.web_address(url) == kept


# --- limits


def size(text: str) -> int:
    return len(text.encode("utf-8"))


def assert_whole(text: str) -> None:
    assert text.count("<details") == text.count("</details>")
    open_fence = ""
    for line in text.split("\n"):
        ticks = re.match("`{3,}", line)
        if ticks and not open_fence:
            open_fence = ticks[0]
        elif open_fence and line == open_fence:
            open_fence = ""
    assert not open_fence
    kinds = [kind for kind, _ in structure(text)]
    assert kinds.count("table_open") == len(re.findall(r"^\| :---", text, re.MULTILINE))


def test_a_report_is_shortened_only_when_it_exceeds_the_limit() -> None:
    whole = markdown(big())
    for limit in range(size(whole) - 2, size(whole) + 3):
        text = markdown(big(), limit=limit)
        assert size(text) <= limit
        assert (text == whole) is (limit >= size(whole))


@pytest.mark.parametrize("limit", [1500, 1501, 1999, 2500, 4000, 6000, 9000, 14_000, 20_000])
@pytest.mark.parametrize("report", [big(), hostile("@#<|" * 60), hostile("\U000e0041" * 60)], ids=["big", "at", "tags"])
def test_complete_rows_are_removed_and_the_markdown_stays_valid(report: Report, limit: int) -> None:
    whole = markdown(report)
    text = markdown(report, limit=limit)
    assert size(text) <= limit
    assert_whole(text)
    assert text.startswith("## ")
    assert "Baseline: " in text
    if size(whole) > limit:
        assert re.search(
            r"\d+ rows? (is|are) not shown here, because the report is too long\. Full report: `report\.html`", text
        )


def test_the_least_important_rows_are_removed_first() -> None:
    report = big()
    whole = markdown(report)
    text = markdown(report, limit=size(whole) - 3000)
    data = text.split("### Data")[1].split("###")[0]
    cut = int(re.findall(r"^\*(\d+) more in the full report\.\*$", data, re.MULTILINE)[0])
    assert 0 < cut < 180
    assert text.count("data/images/") == 180 - cut
    assert text.split("### Plots")[0] == whole.split("### Plots")[0]
    tenth = markdown(report, limit=size(whole) // 10)
    assert size(tenth) > size(whole) // 20, "as much as fits is shown"


def test_every_list_of_rows_can_be_shortened() -> None:
    names = build_view(everything(), number_format=FORMAT, locale="en").context()
    lists = {name for name, value in names.items() if isinstance(value, tuple)}
    fixed = {"details", "highlights", "data_counts", "pipeline_counts", "experiment_columns", "experiment_trends"}
    assert lists - fixed == set(LEAST_IMPORTANT_FIRST)


# --- reports with many rows


MANY = 20_000


def crowded(*, step: int = 1) -> Report:
    """Twenty thousand metrics, of which every `step`th has changed; those of the last hundred are worse."""
    rows = tuple(
        metric(f"m{row}", row, row + (row % step == 0), better=False if row >= MANY - 100 else None)
        for row in range(MANY)
    )
    params = tuple(param(f"p{row}", row, row + 1) for row in range(MAX_ROWS + 7))
    return replace(empty(), baseline=everything().baseline, metrics=rows, params=params)


def names_shown(text: str, name: str = "m") -> set[str]:
    """The names of the rows that Markdown or a page shows."""
    return set(
        re.findall(rf"(?:^\| metrics\.json \| |^\| params\.yaml \| |data-key=\")({name}\d+)\b", text, re.MULTILINE)
    )


def test_a_page_shows_a_limited_number_of_rows_and_says_where_the_others_are() -> None:
    report = crowded(step=100)
    still = MANY - MANY // 100
    for page in (markdown(report), html(report)):
        assert len(names_shown(page)) == MAX_ROWS
        assert len(names_shown(page, "p")) == MAX_ROWS
        text = re.sub("<[^>]+>|`", "", page)
        assert re.findall(r"(\d+) more in report\.json\.", text) == [str(MANY - MAX_ROWS), "7"]
        assert f"{still} unchanged" in page
    assert len(json.loads(as_json(report))["metrics"]) == MANY


def test_counts_of_metrics_include_rows_that_no_page_shows() -> None:
    report = crowded()
    assert "100 metrics worse, 19900 changed" in markdown(report)
    assert "100 metrics worse, 19900 changed" in html(report)
    assert "100 metrics worse, 19900 changed" in terminal(report)
    assert f"{MANY - 20} more changed" in markdown(report)
    assert f"{MANY - 40} more in the full report" in terminal(report)


def test_only_rows_that_are_shown_are_formatted(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def counted(own: NumberFormat, x: object, *, locale: str) -> str:
        written.append(x)
        return write_value(own, x, locale=locale)

    monkeypatch.setattr("cml.report.formatting.write_value", counted)
    markdown(crowded(), limit=65_000)
    assert len(written) <= 2 * (MAX_ROWS + 6)


def test_a_row_that_fails_a_gate_is_always_shown() -> None:
    report = crowded()
    last = (report.metrics or ())[MANY - 101]
    gate = GateResult(rule=f"{last.name} < 3", path=last.path, metric=last.name, value=19_900.0, passed=False)
    assert last.name not in names_shown(markdown(report))
    judged = replace(report, gates=(gate,), verdict="failed")
    for page in (markdown(judged), html(judged)):
        assert last.name in names_shown(page)
        assert len(names_shown(page)) == MAX_ROWS


def test_counts_of_gates_include_those_that_are_not_shown() -> None:
    rows = crowded().metrics or ()
    gates = tuple(
        GateResult(rule="* < 30", path=row.path, metric=row.name, value=float(place), passed=place < 30)
        for place, row in enumerate(rows[: 2 * MAX_ROWS])
    )
    text = markdown(replace(crowded(), gates=gates, verdict="failed"))
    assert f"{2 * MAX_ROWS - 30} of {2 * MAX_ROWS} gates failed" in text
    assert text.count("- ❌") == MAX_ROWS
    assert f"- {MAX_ROWS - 30} more in `report.json`." in text
    passed = markdown(replace(crowded(), gates=tuple(replace(gate, passed=True) for gate in gates), verdict="passed"))
    assert f"<summary>{2 * MAX_ROWS} gates passed</summary>" in passed
    assert passed.count("- ✅") == MAX_ROWS


# --- HTML


class Tags(HTMLParser):
    """The tags of a page in order, with the names of their attributes. Each tag must be closed."""

    VOID = frozenset({"meta", "img", "br", "wbr", "input", "link", "base"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, ...]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *(name for name, _ in attrs if name != "title")))
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse(page: str) -> Tags:
    parser = Tags()
    parser.feed(page)
    parser.close()
    assert not parser.open
    return parser


def tags(page: str) -> list[tuple[str, ...]]:
    """The tags without those that depend on the length of a name."""
    return [tag for tag in parse(page).found if tag not in {("span",), ("wbr",)}]


@pytest.mark.parametrize("case", CASES)
def test_the_page_is_well_formed_and_loads_nothing(case: str) -> None:
    page = html(CASES[case](), {"plots/loss.png": PNG, "plots/a.png": PNG})
    found = parse(page)
    assert {tag[0] for tag in found.found} <= {
        *("html", "head", "meta", "title", "style", "script", "body", "header", "main", "footer", "nav", "section"),
        *(
            "h1",
            "h2",
            "p",
            "div",
            "span",
            "b",
            "code",
            "pre",
            "small",
            "br",
            "wbr",
            "ul",
            "li",
            "a",
            "details",
            "summary",
        ),
        *("table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "img", "svg", "polyline"),
    }
    loading = [(tag, name, value) for tag, name, value in found.attributes if name in ("src", "href", "srcset", "data")]
    for tag, name, value in loading:
        assert (tag, name) in (("a", "href"), ("img", "src"))
        assert value.startswith("data:image/png;base64," if tag == "img" else ("#", "https://forge.example/"))
    assert "url(" not in page
    assert "@import" not in page
    assert not [name for _, name, _ in found.attributes if name.startswith("on") or name == "style"]


def test_the_policy_allows_our_style_and_script_alone() -> None:
    page = html(everything())
    policy = next(value for tag, name, value in parse(page).attributes if tag == "meta" and "default-src" in value)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for tag in ("style", "script"):
        text = page.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
        assert f"{tag}-src 'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" in policy


def test_images_are_inside_the_page_and_a_missing_one_is_named() -> None:
    page = html(everything(), {"plots/a.png": PNG})
    assert page.count("data:image/png;base64,") == 1
    assert 'alt="confusion, baseline" width="300" height="300"' in page
    assert '<p class="soft">plots/b.png</p>' in page


def test_a_long_name_is_shortened_in_the_middle_and_complete_in_its_title() -> None:
    name = "a" * 100 + "<&>" + "b" * 100
    report = replace(empty(), metrics=(metric(name, 1, 2),))
    assert f'title="{"a" * 100}&lt;&amp;&gt;{"b" * 100}"' in html(report)
    assert f"| {'a' * 30}…{'b' * 29} |" in markdown(report)


# --- exports


def test_json_is_valid_and_complete() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    data = json.loads(as_json(everything()), parse_constant=refuse)
    assert data["version"] == 1
    assert set(data) == {"version", *(each.name for each in fields(Report))}
    values = {row["name"]: (row["old"], row["new"], row["status"]) for row in data["metrics"]}
    assert values["odd.nan"] == ("NaN", 1.5, "changed")
    assert values["odd.huge"] == (1.0, "Infinity", "changed")
    assert values["odd.flag"] == (False, True, "changed")
    assert data["experiments"][0]["metrics"][0] == {"path": "metrics.json", "name": "accuracy", "value": 0.9321}
    assert data["pipeline"]["edges"] == [["prepare", "featurize"], ["featurize", "train"]]


def test_openmetrics_has_the_numbers_of_this_run() -> None:
    odd = (metric('q"\\\n', 1, 2), metric("tiny", 1, 1e-09), metric("accuracy", 1, 0.5))
    lines = as_openmetrics(replace(everything(), metrics=((everything().metrics or ()) + odd))).split("\n")
    sample = re.compile(
        r'cml_metric\{path="(?:[^"\\\n]|\\[\\"n])*",name="(?:[^"\\\n]|\\[\\"n])*"\} (-?[0-9.e+-]+|NaN|[+-]Inf)'
    )
    assert lines[0] == "# TYPE cml_metric gauge"
    assert lines[-2:] == ["# EOF", ""]
    assert all(sample.fullmatch(line) for line in lines[2:-2])
    assert 'cml_metric{path="metrics.json",name="accuracy"} 0.9321' in lines
    assert 'cml_metric{path="metrics.json",name="odd.huge"} +Inf' in lines
    assert 'cml_metric{path="metrics.json",name="q\\"\\\\\\n"} 2' in lines
    names = re.findall('name="([^"]*)"', "\n".join(lines))
    assert not {"best", "old_one", "odd.flag"} & set(names)
    assert len(names) == len(set(names))


# --- formats of values


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (1023, "1,023 B"), (1024, "1.0 KiB"), (10_189, "10.0 KiB"), (1_048_400, "1.0 MiB"),
        (123_456_789, "118 MiB"), (-2048, "-2.0 KiB"), (5 * 1024**6, "5,120 PiB"),
    ],
)  # fmt: skip
def test_sizes_are_formatted_for_readers(count: int, text: str) -> None:
    assert formatting.size(count, locale="en", translations=translations_of("en")) == text


@pytest.mark.parametrize("number", [10**400, -(10**400)])
def test_numbers_that_are_too_large_for_a_float_are_shown(number: int) -> None:
    foreign = StageRun(name="x", status="ran", gpu=GpuUsage(devices=number, peak_memory=number, utilization=math.inf))
    data = DataChanges(added=(DataEntry(path="x", new_size=number),))
    report = replace(empty(), data=data, pipeline=PipelineSection(stages=(foreign,)))
    assert "GPU" in markdown(report)
    assert "GPU" in html(report)
    assert max(map(len, terminal(report).splitlines())) < 200


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0%"), (0.873, "87%"), (1.0, "100%"), (1.01, ""), (-0.1, ""), (math.nan, ""), (math.inf, "")],
)
def test_a_share_is_shown_in_whole_percents(share: float, text: str) -> None:
    assert formatting.percent(share, locale="en") == text
    assert formatting.percent(0.5, locale="de") == "50\xa0%"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"), (1.24, "1.2 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"), (7500, "2 h 05 min"), (math.nan, ""), (-1, ""),
    ],
)  # fmt: skip
def test_times_are_formatted_for_readers(seconds: float, text: str) -> None:
    assert formatting.duration(seconds, locale="en") == text


def test_sparklines_show_the_trend() -> None:
    assert formatting.sparkline((1, 2, 3, math.nan), low=1, high=3) == "▁▅█·"
    assert formatting.sparkline((2, 2), low=2, high=2) == "▅▅"
    assert len(formatting.sparkline(tuple(range(1000)), low=0, high=999)) == 20


def test_a_log_is_shown_as_in_a_terminal() -> None:
    assert escape.log_lines("\x1b[1mbold\x1b[0m\r\n50%\r100%\n\n") == ("bold", "100%")
    assert escape.log_lines(" \n") == ()
    assert escape.fence(("a", "````"), "text") == "`````text\na\n````\n`````"
