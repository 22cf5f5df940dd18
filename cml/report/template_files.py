"""Where the report's own files are: templates, style, script, JSON Schema and translations."""

from __future__ import annotations

from pathlib import Path


def templates_folder() -> Path:
    """Returns `cml/report/templates` of an installed package, else `templates/report` of the repository."""
    # pyproject.toml puts the repository's folder there when it builds the wheel.
    installed = Path(__file__).parent / "templates"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "templates" / "report"
