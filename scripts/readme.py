"""Writes the table of variables in README.md."""

from __future__ import annotations

from cml.config.variables import VARIABLES
from scripts.sections import choices_in_words, default_in_words, replace_section


def variable_table() -> str:
    """Returns the Markdown table of all variables."""
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for variable in VARIABLES:
        meaning = f"{variable.help}{choices_in_words(variable)}"
        lines.append(f"| `{variable.name}` | {default_in_words(variable)} | {meaning} |")
    return "\n".join(lines)


def generate(text: str) -> str:
    """Returns README.md with an up-to-date table of variables."""
    return replace_section(text, name="variables", script="scripts/readme.py", content=variable_table(), is_html=True)
