"""The report's folder on disk: what lies in `cml-report/` after a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cml.errors import BadInput

if TYPE_CHECKING:
    from cml.config.settings import Settings
    from cml.forges.base import Outputs
    from cml.model.report import Report
    from cml.process.log import Log

FOLDER = "cml-report"
LARGEST_TEMPLATE = 1 << 20
NAMES = ("report.md", "report.html", "report.json", "metrics.txt", "cml.env")


def check_folder(*, is_tracked: bool) -> None:
    """Refuses a `cml-report` that is not ours to write. Raises BadInput."""
    place = Path(FOLDER)
    inside = [place / name for name in (*NAMES, "plots")]
    if is_tracked or any(path.is_symlink() for path in (place, *inside)) or (place.exists() and not place.is_dir()):
        raise BadInput(
            f"{FOLDER} is where the report goes, and what stands there is not CML's (git tracks it, or it is a "
            "link or a file): remove or rename it"
        )


def clear(folder: Path, *, keeps_drawings: bool = False) -> None:
    """Removes what an earlier run left of ours; with `keeps_drawings` not the plots, which `write_report` sorts out."""
    if not keeps_drawings and (folder / "plots").exists():
        from shutil import rmtree

        rmtree(folder / "plots", ignore_errors=True)
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)


def _remove_drawings(folder: Path, *, but: Iterable[str]) -> None:
    """Removes the drawings that no plot of this report shows; `but` are names as PlotImage.file has them."""
    kept = {(folder / name).name for name in but}
    for file in (folder / "plots").glob("*"):
        if file.name not in kept:
            file.unlink()
    with contextlib.suppress(OSError):
        (folder / "plots").rmdir()


def read_template(settings: Settings) -> str | None:
    """Returns the user's own template, tried on an empty report. Raises BadInput where it is missing or broken."""
    from cml.report.markdown import TemplateProblem, check_template

    if not settings.template:
        return None
    try:
        path = Path(settings.template)
        if path.exists() and (not path.is_file() or path.stat().st_size > LARGEST_TEMPLATE):  # /dev/zero has no end
            raise BadInput(f"template is {settings.template!r}: expected a file of at most {LARGEST_TEMPLATE} bytes")
        text = path.read_text(encoding="utf-8")
        check_template(text)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"template is {settings.template!r}, which cannot be read: {error}") from None
    except TemplateProblem as error:
        raise BadInput(f"template {settings.template}: {error}") from None
    return text


def markdown(
    report: Report,
    *,
    settings: Settings,
    template: str | None,
    log: Log,
    limit: int | None = None,
    image_urls: Mapping[str, str] | None = None,
) -> str:
    """Returns the Markdown within `limit` bytes of UTF-8; images that `image_urls` (by `PlotImage.file`) has an
    address for are shown. A user's template that fails is a warning, and ours serves.
    """
    from cml.report import markdown as renderer

    def written(user_template: str | None) -> str:
        return renderer.render_markdown(
            report,
            number_format=settings.number_format,
            locale=settings.locale,
            user_template=user_template,
            limit=limit,
            image_urls=image_urls,
        )

    try:
        return written(template)
    except renderer.TemplateProblem as error:
        log.warning(f"template {settings.template}: {error}; CML's own serves")
        return written(None)


def write_report(report: Report, folder: Path, *, settings: Settings, template: str | None, log: Log) -> str:
    """Writes every file of the report, and returns the Markdown."""
    from cml.model.json import render_json
    from cml.report.html import render_html
    from cml.report.openmetrics import render_openmetrics

    folder.mkdir(exist_ok=True)
    text = markdown(report, settings=settings, template=template, log=log)
    images = {image.file: (folder / image.file).read_bytes() for plot in report.plots or () for image in plot.images}
    _remove_drawings(folder, but=images)
    (folder / "report.md").write_text(text, encoding="utf-8")
    page = render_html(report, number_format=settings.number_format, locale=settings.locale, images=images)
    with (folder / "report.html").open("w", encoding="utf-8") as file:
        file.writelines(page)
    for name, lines in {"report.json": render_json, "metrics.txt": render_openmetrics}.items():
        with (folder / name).open("w", encoding="utf-8") as file:
            file.writelines(lines(report))
    return text


def write_outputs(outputs: Outputs, folder: Path) -> None:
    """Writes the outputs as a dotenv file: CML_<NAME>=<text>, what GitLab's artifacts:reports:dotenv reads."""
    folder.mkdir(exist_ok=True)
    lines = [f"CML_{name.upper()}={value}" for name, value in outputs.pairs().items()]
    (folder / "cml.env").write_text("\n".join(lines) + "\n", encoding="utf-8")
