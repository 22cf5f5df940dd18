"""The folder `cml-report/`: which files belong to CML, removing old ones, and the outputs of the job.

A skipped run needs these, so nothing here may import a renderer; `render` writes the report itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from cml.errors import BadInput
from cml.forges.base import Forge, Outputs
from cml.git.repository import Repository

FOLDER = "cml-report"
FILES = ("report.md", "report.html", "report.json", "metrics.txt", "cml.env")


def check_folder(*, is_tracked: bool) -> None:
    """Raises BadInput if `cml-report` exists and was not made by CML: then nothing may be written or removed there."""
    folder = Path(FOLDER)
    inside = [folder / name for name in (*FILES, "plots")]
    # CML often runs as root in a container: through a link it would write or remove files anywhere.
    has_links = any(path.is_symlink() for path in (folder, *inside))
    if is_tracked or has_links or (folder.exists() and not folder.is_dir()):
        raise BadInput(
            f"the report goes to the folder {FOLDER}, but that name is used already: git tracks it, or it is a link or "
            "a file. Remove or rename it"
        )


def clear(folder: Path, *, keep_plots: bool = False) -> None:
    """Removes the files of an earlier run. With `keep_plots` the images of plots stay: images that did not change are
    used again, and `remove_plots` removes the others.
    """
    if not keep_plots:
        with contextlib.suppress(OSError):
            remove_plots(folder, keep=())
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def remove_plots(folder: Path, *, keep: Iterable[str]) -> None:
    """Removes the images of plots that the report does not show; `keep` are names as in PlotImage.file."""
    kept = {(folder / name).name for name in keep}
    for file in (folder / "plots").glob("*"):
        # A folder is not CML's. It must prevent neither the removal of old images nor a new report.
        if file.name not in kept and not file.is_dir():
            file.unlink()
    with contextlib.suppress(OSError):  # it is not empty
        (folder / "plots").rmdir()


def report_path(repository: Repository) -> str:
    """Returns the path of report.md, relative to the top of the repository, for the output `report`."""
    return os.path.relpath(Path(FOLDER).resolve() / "report.md", repository.top)


def set_outputs(repository: Repository, forge: Forge, outputs: Outputs, *, markdown: str | None = None) -> None:
    """Gives the outputs to later steps of the job, and writes them to cml.env. `markdown` is the report of another run,
    whose results this run uses.
    """
    folder = Path(FOLDER)
    # A folder that cannot be written must not fail a run whose results are saved: the forge gets the outputs anyway.
    with contextlib.suppress(OSError, BadInput):
        check_folder(is_tracked=folder.exists() and repository.has_tracked_files(FOLDER))
        repository.exclude(f"{FOLDER}/")
        if outputs.skipped or markdown is not None:
            clear(folder)  # the report of an earlier run in this workspace is not the report of this one
        write_outputs(outputs, folder)
        if markdown is not None:
            (folder / "report.md").write_text(markdown, encoding="utf-8")
    forge.set_outputs(outputs)


def write_outputs(outputs: Outputs, folder: Path) -> None:
    """Writes the outputs as a dotenv file for GitLab's artifacts:reports:dotenv: one CML_<NAME>=<text> per line."""
    folder.mkdir(exist_ok=True)
    lines = [f"CML_{name.upper()}={value}" for name, value in outputs.pairs().items()]
    (folder / "cml.env").write_text("\n".join(lines) + "\n", encoding="utf-8")
