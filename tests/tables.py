"""Writes what follows from the variable table: `python tests/tables.py` writes it anew, test_tables.py holds it."""

from __future__ import annotations

from pathlib import Path

from cml.variables import VARIABLES, Variable

TOP = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- variables: written from cml/variables.py -->", "<!-- /variables -->"


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


def main() -> None:
    readme = TOP / "README.md"
    readme.write_text(with_table(readme.read_text()))


if __name__ == "__main__":
    main()
