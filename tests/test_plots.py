"""Plots, drawn by vl-convert itself: the images, and that no plot can harm the run or make a request."""

from __future__ import annotations

import base64
import json
import math
import re
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import urlopen

import pytest
import vl_convert
from dvc_render import VegaRenderer

from cml.model.plots import BrokenPlot, DvcPlot, ImagePlot, VegaPlot
from cml.model.report import Plot
from cml.report.plots import render
from cml.report.plots.files import begin_drawing
from cml.report.plots.images import MAX_BYTES, image_size
from cml.report.plots.spec import Chart

SIDES = ("baseline", "current")
XY = {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}}
ONE_ROW = {"values": [{"x": 1, "y": 2, "rev": "current"}]}


def draw(plots: Sequence[DvcPlot], folder: Path) -> tuple[Plot, ...]:
    """Draws plots and waits for them."""
    return begin_drawing(plots, folder)()


def rows_of(count: int) -> list[dict[str, Any]]:
    return [
        {"step": i, "loss": math.exp(-i / count) + (side == "current"), "rev": side}
        for side in SIDES
        for i in range(count)
    ]


def dvc_spec(rows: list[dict[str, Any]], template: str = "linear", x: str = "step", y: str = "loss") -> dict[str, Any]:
    """A specification as the pinned DVC fills it."""
    spec: dict[str, Any] = VegaRenderer(rows, "id", template=template, x=x, y=y, title="Loss").get_filled_template()
    return spec


def filled(spec: dict[str, Any], note: str = "") -> dict[str, Any]:
    """The specification that vl-convert gets."""
    restyled: dict[str, Any] = json.loads(Chart(spec).specification(note))
    return restyled


def png(width: int = 3, height: int = 2) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + b"\x10\x80\xf0" * width for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


JPEG = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc4\x00\x03c\xff\xc2\x00\x0b\x08\x00\x14\x00\x1e\x01\x01\x11\x00\xff\xd9"
GIF = b"GIF89a" + struct.pack("<HH", 7, 5) + b"\0\0\0;"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><circle r="9"/></svg>'


# Drawings


Gallery = tuple[Path, dict[str, Plot]]


def gallery_plots() -> list[VegaPlot]:
    rows = [row | {"step": "ab"[row["step"] % 2], "loss": "cd"[row["step"] % 2]} for row in rows_of(20)]
    hostile = '<script>\0\x1b</svg> & \ud800\uffff "quoted" \' ' + "long " * 99
    return [
        VegaPlot(title="jitter", spec=dvc_spec(rows, "scatter_jitter")),
        VegaPlot(title="confusion", spec=dvc_spec(rows, "confusion")),
        VegaPlot(title="line", spec=dvc_spec(rows_of(3_000))),
        VegaPlot(title="hostile", spec=dvc_spec([{**row, "rev": hostile} for row in rows_of(3)]) | {"title": hostile}),
    ]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """A folder with plots of many kinds, and the plots by title. Drawn once, since a child is slow to start."""
    folder = tmp_path_factory.mktemp("gallery")
    return folder, {plot.title: plot for plot in draw(gallery_plots(), folder)}


def test_a_line_plot_is_one_drawing_of_both_sides_with_points_for_a_sparkline(gallery: Gallery) -> None:
    folder, drawn = gallery
    plot = drawn["line"]
    assert plot.problem is None
    (image,) = plot.images
    assert (image.label, image.width, image.height) == ("", 960, 600)
    assert image_size((folder / image.file).read_bytes()) == ("png", 960, 600)
    assert [label for label, _ in plot.points] == ["baseline", "current"]
    for (_, values), start in zip(plot.points, (1.0, 2.0), strict=True):
        assert (len(values), values[0]) == (40, start)


@pytest.mark.parametrize("template", ["scatter", "confusion", "bar_horizontal"])
def test_only_a_line_has_points(template: str) -> None:
    assert Chart(dvc_spec(rows_of(5), template)).points() == ()


def test_several_lines_a_side_have_no_points() -> None:
    spec = dvc_spec([row | {"set": name} for row in rows_of(5) for name in ("train", "test")], "simple")
    spec["encoding"]["strokeDash"] = {"field": "set"}
    assert Chart(spec).points() == ()


def test_equal_input_gives_equal_bytes(gallery: Gallery, tmp_path: Path) -> None:
    folder, drawn = gallery
    for plot in draw(gallery_plots()[:2], tmp_path):
        assert plot == drawn[plot.title]
        (image,) = plot.images
        assert (tmp_path / image.file).read_bytes() == (folder / image.file).read_bytes()


def test_the_baseline_is_dashed_and_the_sides_keep_their_colours_alone_or_together() -> None:
    both = filled(dvc_spec(rows_of(5), "simple"))
    assert both["encoding"]["color"]["scale"] == {"domain": [*SIDES], "range": ["#7a8ba6", "#c2410c"]}
    assert both["encoding"]["strokeDash"]["scale"] == {"domain": [*SIDES], "range": [[6, 3], [1, 0]]}
    assert (both["background"], both["width"], both["height"]) == ("white", 480, 300)
    alone = filled(dvc_spec(rows_of(5)[5:], "simple"))
    assert alone["encoding"]["color"]["scale"] == {"domain": ["current"], "range": ["#c2410c"]}


def test_choices_of_a_template_are_kept() -> None:
    color = {"field": "rev", "scale": {"range": ["red", "green"]}}
    dark = {"background": "#222", "axis": {"labelColor": "white"}}
    spec = {"data": ONE_ROW, "mark": "bar", "width": 90, "config": dark, "encoding": {**XY, "color": color}}
    restyled = filled(spec)
    assert restyled["encoding"]["color"] == color
    assert (restyled["width"], restyled["height"], restyled["background"]) == (90, 300, "#222")
    assert restyled["config"]["axis"] == {"labelColor": "white"}


@pytest.mark.parametrize(("classes", "shows_counts"), [(3, True), (40, False)])
def test_a_confusion_matrix_shows_its_numbers_if_there_is_room(classes: int, *, shows_counts: bool) -> None:
    rows = [{"step": f"a{i % classes}", "loss": f"b{i % classes}", "rev": side} for side in SIDES for i in range(80)]
    params = filled(dvc_spec(rows, "confusion"))["params"]
    assert [param.get("value", False) for param in params if param["name"] == "showValues"] == [shows_counts]


@pytest.mark.parametrize("template", ["simple", "linear", "scatter", "confusion", "bar_horizontal"])
def test_the_sides_are_translated_in_legends_and_above_panels(template: str) -> None:
    rows = [row | {"step": "ab"[row["step"] % 2]} for row in rows_of(6)] if template == "confusion" else rows_of(6)
    words = {"baseline": "Ursprung", "current": "jetzt"}
    specification = Chart(dvc_spec(rows, template)).specification("", sides=words)
    found = re.findall("<text[^>]*>([^<]*)</text>", vl_convert.vegalite_to_svg(specification, vl_version="5.21"))
    assert {"Ursprung", "jetzt"} <= {*found}
    assert not {"baseline", "current"} & {*found}


def test_a_note_is_shown_below_the_title() -> None:
    title = filled(dvc_spec(rows_of(3)), note="baseline: loss.csv:\nNo such file")["title"]
    assert (title["text"], title["subtitle"]) == ("Loss", "baseline: loss.csv: No such file")


def test_a_title_that_equals_the_caption_is_not_drawn() -> None:
    chart = Chart(dvc_spec(rows_of(3)))
    assert "title" not in json.loads(chart.specification("", caption="Loss"))
    assert json.loads(chart.specification("", caption="loss.csv"))["title"]["text"] == "Loss"
    assert json.loads(chart.specification("gone", caption="Loss"))["title"]["subtitle"] == "gone"


# Rows


def test_a_long_line_keeps_its_first_last_lowest_and_highest_rows() -> None:
    rows = rows_of(20_000)
    rows[7_777]["loss"], rows[27_777]["loss"] = -5.0, 9.0
    chart = Chart(dvc_spec(rows))
    kept = chart.thinned()
    assert 500 < len(kept) < 2_100
    for row in (rows[0], rows[19_999], rows[20_000], rows[-1], rows[7_777], rows[27_777]):
        assert row in kept
    assert kept == Chart(dvc_spec(rows)).thinned()


def test_a_cloud_is_thinned_evenly_and_keeps_its_outermost_points() -> None:
    rows = rows_of(20_000)
    rows[7_777]["loss"] = 99.0
    kept = Chart(dvc_spec(rows, "scatter")).thinned()
    assert rows[7_777] in kept
    assert 1_900 < len(kept) < 2_100


@pytest.mark.parametrize("template", ["confusion", "confusion_normalized", "bar_horizontal"])
def test_a_plot_that_counts_rows_gets_all_of_them(template: str) -> None:
    assert len(Chart(dvc_spec(rows_of(20_000), template)).thinned()) == 40_000


def test_thousands_of_series_can_be_drawn() -> None:
    rows = [{"x": i, "y": i, "name": f"series {i % 4_000}", "rev": "current"} for i in range(100_000)]
    spec = {"data": {"values": rows}, "mark": "line", "encoding": {**XY, "detail": {"field": "name"}}}
    assert len(Chart(spec).thinned()) <= 4 * 4_000


def test_a_hundred_thousand_points_are_drawn_in_seconds(tmp_path: Path) -> None:
    start = time.monotonic()
    (plot,) = draw([VegaPlot(title="long", spec=dvc_spec(rows_of(60_000)))], tmp_path)
    assert plot.problem is None
    assert time.monotonic() - start < 15


def test_text_of_csv_cells_becomes_numbers_and_anything_else_a_gap() -> None:
    cells = ["1.5", "nan", "inf", "", float("nan"), float("-inf"), None, "7"]
    rows = [{"step": str(i), "loss": cell, "rev": "current"} for i, cell in enumerate(cells)]
    spec = dvc_spec(rows)
    assert [row["loss"] for row in filled(spec)["data"]["values"]] == [1.5, None, None, None, None, None, None, 7.0]
    assert Chart(spec).points() == (("current", (1.5, 7.0)),)


def test_a_field_with_a_dot_keeps_its_values_and_unused_fields_are_left_out() -> None:
    rows = [{"step": i, "train.loss": i, "unused": "x", "rev": "current"} for i in range(3)]
    assert filled(dvc_spec(rows, y="train.loss"))["data"]["values"][2] == {
        "step": 2.0,
        "train.loss": 2.0,
        "rev": "current",
    }


# Plots that cannot be drawn


def test_a_plot_that_cannot_be_drawn_has_a_message_and_the_others_are_drawn(tmp_path: Path) -> None:
    nested: dict[str, Any] = {"mark": "point"}
    for _ in range(3_000):
        nested = {"layer": [nested]}
    broken: list[Any] = [
        {},
        {"mark": 3, "data": ONE_ROW},
        {"mark": "no such mark", "data": ONE_ROW, "encoding": XY},
        {"mark": "point", "data": {"values": [1, "two"]}, "encoding": XY},
        {"mark": "line", "data": {"values": [{"x": "a", "y": "b"}]}, "encoding": XY},
        {"mark": "point", "data": ONE_ROW, "encoding": XY, "width": 10**6, "height": 10**6},
        {"data": ONE_ROW, "hconcat": [{"mark": "point", "encoding": XY, "width": 10**4}]},
        {"mark": "point", "data": ONE_ROW, "encoding": {"x": {"field": "x", "bin": {"maxbins": "\ud800"}, "type": 1}}},
        nested,
    ]
    given = [VegaPlot(title=f"broken {index}", spec=spec) for index, spec in enumerate(broken)]
    drawn = draw([*given, VegaPlot(title="whole", spec=dvc_spec(rows_of(5)))], tmp_path)
    assert [plot.title for plot in drawn] == [*(plot.title for plot in given), "whole"]
    for plot in drawn[:-1]:
        assert plot.problem, plot
        assert plot.problem == " ".join(plot.problem.split())
        assert len(plot.problem) <= 300
    assert drawn[-1].problem is None


def test_a_plot_that_takes_too_long_is_stopped_and_the_next_one_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "SECONDS_PER_PLOT", 2)
    endless = {"data": {"sequence": {"start": 0, "stop": 10**9}}, "mark": "point", "encoding": XY}
    slow, image = draw([VegaPlot(title="slow", spec=endless), ImagePlot(title="i", sides={"current": SVG})], tmp_path)
    assert slow.problem in ("it takes longer than 2 s to draw", "vl-convert crashed on it")
    assert image.problem is None


def test_plots_after_the_time_limit_have_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "SECONDS_IN_ALL", 0)
    (plot,) = draw([VegaPlot(title="late", spec=dvc_spec(rows_of(5)))], tmp_path)
    assert plot.problem == "the plots before it took 0 s, the limit for all plots"


def test_a_broken_plot_keeps_its_reason(tmp_path: Path) -> None:
    (plot,) = draw([BrokenPlot(title="gone.csv", reason="gone.csv:\nNo such file")], tmp_path)
    assert (plot.images, plot.problem) == ((), "gone.csv: No such file")
    assert not list(tmp_path.iterdir())


# No requests


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine, and the paths that were requested."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", asked
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_nothing_is_loaded_from_the_network_or_from_other_files(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    url, asked = server
    with urlopen(f"{url}/counted") as answer:  # noqa: S310 - our own server
        assert answer.read() == b"[]"
    assert asked == ["/counted"]
    asked.clear()
    (tmp_path / "secret.png").write_bytes(png())
    row = {"x": 1, "y": 2, "rev": "current", "u": f"{url}/a.png", "f": (tmp_path / "secret.png").as_uri()}
    inner = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}/c.png" width="9" height="9"/></svg>'
    inner = "data:image/svg+xml;base64," + base64.b64encode(inner.encode()).decode()
    lookup = {"lookup": "x", "from": {"data": {"url": f"{url}/e.json"}, "key": "x", "fields": ["z"]}}
    refused: list[dict[str, Any]] = [
        {"data": {"url": f"{url}/data.json"}, "mark": "point", "encoding": XY},
        {"data": {"url": url.removeprefix("http:") + "/d.csv"}, "mark": "point", "encoding": XY},
        {"data": {"values": [row]}, "transform": [lookup], "mark": "point", "encoding": XY},
        {"data": {"values": [row]}, "mark": "image", "encoding": {**XY, "url": {"field": "u"}}},
        {"data": {"values": [row]}, "mark": "image", "encoding": {**XY, "url": {"field": "f"}}},
        {"data": {"values": [row]}, "mark": {"type": "image", "url": f"{url}/b.png"}, "encoding": XY},
        {"data": {"values": [row]}, "mark": {"type": "image", "url": inner}, "encoding": XY},
    ]
    harmless = {"$schema": f"{url}/vega-lite/v5.json", "data": ONE_ROW, "mark": {"type": "point", "href": url}}
    drawn = draw([VegaPlot(title="p", spec=spec) for spec in [*refused, {**harmless, "encoding": XY}]], tmp_path)
    linked = SVG.replace(b"<circle", f'<image width="5" height="5" href="{url}/f.png"/><circle'.encode())
    drawn += draw([ImagePlot(title="svg", sides={"current": linked})], tmp_path)
    assert [bool(plot.problem) for plot in drawn] == [True] * len(refused) + [False, True]
    assert asked == []


# Files


def test_a_hostile_title_cannot_leave_the_folder(tmp_path: Path) -> None:
    titles = [
        "../../etc/passwd",
        "/etc/passwd",
        "a\0b\n\x1b[0m",
        "",
        "Ü 😀",
        "x" * 999,
        "\ud800",
        "CON",
        "-rf",
        "../a",
        "..a",
    ]
    folder = tmp_path / "cml-report"
    drawn = draw([ImagePlot(title=title, sides={"current": png()}) for title in titles], folder)
    names = [image.file for plot in drawn for image in plot.images]
    assert len(names) == len(set(names)) == len(titles)
    for name in names:
        assert re.fullmatch(r"plots/[a-z0-9][a-z0-9-]{0,60}\.png", name)
    assert sorted(f"plots/{file.name}" for file in (folder / "plots").iterdir()) == sorted(names)
    assert [entry.name for entry in tmp_path.iterdir()] == ["cml-report"]


def test_hostile_texts_can_be_drawn(gallery: Gallery) -> None:
    assert gallery[1]["hostile"].problem is None


def test_links_in_the_folder_are_replaced_and_not_followed(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "cml-report"
    elsewhere.mkdir()
    folder.mkdir()
    (folder / "plots").symlink_to(elsewhere)
    plot = ImagePlot(title="a", sides={"current": png()})
    (first,) = draw([plot], folder)
    file = folder / first.images[0].file
    file.unlink()
    file.symlink_to(elsewhere / "target")
    assert draw([plot], folder) == (first,)
    assert not file.is_symlink()
    assert not list(elsewhere.iterdir())


def test_an_unchanged_plot_is_not_drawn_again(tmp_path: Path) -> None:
    """Bytes after the end of a PNG, which readers ignore, show whether the file was written again."""
    same, other = (VegaPlot(title="a plot", spec=dvc_spec(rows_of(rows))) for rows in (5, 6))
    (first,) = draw([same], tmp_path)
    file = tmp_path / first.images[0].file
    file.write_bytes(file.read_bytes() + b"mark")
    assert draw([same], tmp_path) == (first,)
    assert file.read_bytes().endswith(b"mark")
    assert draw([other], tmp_path) != (first,)
    file.write_bytes(b"broken")
    assert draw([same], tmp_path) == (first,)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_image_plots_are_copied_side_by_side_and_svg_is_drawn(tmp_path: Path) -> None:
    given = [
        ImagePlot(title="a.png", sides={"current": png(5, 4), "baseline": png(3, 2)}),
        ImagePlot(title="b.jpg", sides={"current": JPEG}),
        ImagePlot(title="c.svg", sides={"baseline": SVG, "current": SVG}),
    ]
    side_by_side, jpeg, svg = draw(given, tmp_path)
    assert [(image.label, image.width, image.height) for image in side_by_side.images] == [
        ("baseline", 3, 2),
        ("current", 5, 4),
    ]
    assert (tmp_path / side_by_side.images[0].file).read_bytes() == png(3, 2)
    assert jpeg.images[0].file.endswith(".jpg")
    assert (tmp_path / jpeg.images[0].file).read_bytes() == JPEG
    assert [(image.width, image.height, image.file[-4:]) for image in svg.images] == [(40, 20, ".png")] * 2


def test_without_the_baseline_image_the_current_one_is_shown_but_not_the_other_way_round(tmp_path: Path) -> None:
    sides: list[dict[str, bytes]] = [
        {"baseline": b"no image", "current": png()},
        {"baseline": png(), "current": b"no image"},
        {"current": b"<svg"},
        {"current": b"<html>\xff</html>"},
        {"current": png()[:20]},
        {},
    ]
    drawn = draw([ImagePlot(title="i", sides=side) for side in sides], tmp_path)
    assert [image.label for image in drawn[0].images] == ["current"]
    assert [bool(plot.problem) for plot in drawn] == [False, True, True, True, True, True]
    assert drawn[1].problem == "it is not a PNG, JPEG, GIF, WebP or SVG image"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(640, 480), ("png", 640, 480)),
        (GIF, ("gif", 7, 5)),
        (JPEG, ("jpg", 30, 20)),
        (b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x0f\0\0\x07\0\0", ("webp", 16, 8)),
        (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + (15 | 7 << 14).to_bytes(4, "little"), ("webp", 16, 8)),
        (b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x10\0\x08\0", ("webp", 16, 8)),
    ],
)
def test_the_size_of_an_image_is_read_from_its_first_bytes(data: bytes, expected: tuple[str, int, int]) -> None:
    assert image_size(data) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        png(0, 5),
        png()[:22],
        png()[:8] + b"x" * 30,
        png().replace(struct.pack(">II", 3, 2), struct.pack(">II", 99_999, 99_999)),
        png() + bytes(MAX_BYTES),
        JPEG[:12],
        b"GIF89a",
        b"RIFF\0\0\0\0WEBPVP8 ",
    ],
    ids=range(10),
)
def test_damaged_and_too_large_images_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="image"):
        image_size(data)
