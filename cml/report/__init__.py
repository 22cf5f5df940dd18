"""The report: as data, as text, and what decides about it."""

from pathlib import Path


def templates_folder() -> Path:
    """Where the templates lie, and what goes with them: in the installed package, else in the repository."""
    installed = Path(__file__).parent / "templates"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "templates" / "report"
