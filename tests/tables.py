"""Writes what follows from the variable table: `python tests/tables.py` writes it anew, test_tables.py holds it."""

from __future__ import annotations

import textwrap
from pathlib import Path

from cml.variables import VARIABLES, Variable

TOP = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- variables: written from cml/variables.py -->", "<!-- /variables -->"
BEGIN_INPUTS, END_INPUTS = "# variables: written from cml/variables.py", "# /variables"


def readme_table() -> str:
    """The table of README."""
    rows = [f"| `{variable.name}` | {_default(variable)} | {variable.help} |" for variable in VARIABLES]
    return "\n".join(["| variable | default | what it is |", "| --- | --- | --- |", *rows])


def _default(variable: Variable) -> str:
    if variable.shown_default:
        return variable.shown_default
    return f"`{variable.default}`" if variable.default else ""


def with_table(text: str) -> str:
    """README with the table between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{readme_table()}\n{END}{after}"


def action_inputs() -> str:
    """The inputs of action.yml. None has a default of its own, so that an input left out leaves `env:` its say."""
    return "\n".join(_action_input(variable) for variable in VARIABLES)


def _action_input(variable: Variable) -> str:
    default = f" Default: {_default(variable)}." if _default(variable) else ""
    choices = f" One of {', '.join(f'`{choice}`' for choice in variable.choices)}." if variable.choices else ""
    text = textwrap.fill(
        f"{variable.help}{choices}{default}",
        width=118,
        initial_indent=" " * 6,
        subsequent_indent=" " * 6,
        break_on_hyphens=False,
    )
    lines = [f"  {variable.name}:", "    description: >-", text]
    if variable.name == "repo_token":
        lines.append("    default: ${{ github.token }}")
    return "\n".join(lines)


def with_inputs(text: str) -> str:
    """action.yml with the inputs between their marks."""
    before, _, rest = text.partition(BEGIN_INPUTS)
    _, _, after = rest.partition(END_INPUTS)
    return f"{before}{BEGIN_INPUTS}\n{action_inputs()}\n  {END_INPUTS}{after}"


def main() -> None:
    for name, write in (("README.md", with_table), ("action.yml", with_inputs)):
        path = TOP / name
        path.write_text(write(path.read_text()))


if __name__ == "__main__":
    main()
