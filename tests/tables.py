"""Writes what follows from the variable table: `python tests/tables.py` writes it anew, test_tables.py holds it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from cml.variables import VARIABLES, Variable

TOP = Path(__file__).resolve().parent.parent
TEMPLATE, COMPONENT = TOP / "gitlab" / "cml.yml", TOP / "templates" / "cml.yml"

# What GitLab adds to a variable's help. Its inputs have types, and YAML reads a bare `off` or 5 as no text.
NOTES = {
    "setup": "GitLab leaves `$` to the shell, which sees every variable of the job.",
    "push": "In quotes.",
    "comment": "In quotes.",
    "experiments": "In quotes.",
}


def readme_table() -> str:
    """The table of README."""
    rows = [
        f"| `{variable.name}` | {_default(variable)} | {variable.help}{_choices(variable)} |" for variable in VARIABLES
    ]
    return "\n".join(["| variable | default | what it is |", "| --- | --- | --- |", *rows])


def _default(variable: Variable) -> str:
    if variable.shown_default:
        return variable.shown_default
    return f"`{variable.default}`" if variable.default else ""


def _choices(variable: Variable) -> str:
    return f" One of {', '.join(f'`{choice}`' for choice in variable.choices)}." if variable.choices else ""


def with_table(text: str) -> str:
    """README with the table between its marks."""
    return _between(text, "<!-- variables: written from cml/variables.py -->", "<!-- /variables -->", readme_table())


def action_inputs() -> str:
    """The inputs of action.yml. None has a default of its own, so that an input left out leaves `env:` its say."""
    return "\n".join(_action_input(variable) for variable in VARIABLES)


def _action_input(variable: Variable) -> str:
    lines = _described(variable, f"{variable.help}{_choices(variable)}", indent=2)
    if variable.name == "repo_token":
        lines.append("    default: ${{ github.token }}")
    return "\n".join(lines)


def _described(variable: Variable, text: str, *, indent: int) -> list[str]:
    """An input's name and description as lines of YAML."""
    default = f" Default: {_default(variable)}." if _default(variable) else ""
    margin = " " * (indent + 4)
    folded = textwrap.fill(
        f"{text}{default}", width=118, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
    )
    return [f"{' ' * indent}{variable.name}:", f"{' ' * indent}  description: >-", folded]


def with_inputs(text: str) -> str:
    """action.yml with the inputs between their marks."""
    return _between(text, "# variables: written from cml/variables.py", "  # /variables", action_inputs())


def template_inputs() -> str:
    """The inputs of the GitLab template: no secret, and all empty, so that one left out leaves `variables:` its say."""
    return "\n".join(_template_input(variable) for variable in VARIABLES if variable.is_option)


def _template_input(variable: Variable) -> str:
    note = f" {NOTES[variable.name]}" if variable.name in NOTES else ""
    options = ("true", "false") if variable.kind == "boolean" else variable.choices
    lines = _described(variable, f"{variable.help}{note}", indent=4)
    lines.append('      default: ""')
    if options:
        lines.append(f"      options: [{', '.join(json.dumps(option) for option in ('', *options))}]")
    return "\n".join(lines)


def template_variables() -> str:
    """The job variables that hand the inputs on."""
    return "\n".join(_template_variable(variable) for variable in VARIABLES if variable.is_option)


def _template_variable(variable: Variable) -> str:
    name, value = f"    INPUT_{variable.name.upper()}:", f"$[[ inputs.{variable.name} ]]"
    # `$` is the shell's in lines, and a currency's in numeral.js's grammar.
    if variable.kind == "lines" or variable.name == "metrics_format":
        return f"{name}\n      value: {value}\n      expand: false"
    return f"{name} {value}"


def with_template(text: str) -> str:
    """gitlab/cml.yml with inputs and job variables between their marks."""
    text = _between(text, "# inputs: written from cml/variables.py", "    # /inputs", template_inputs())
    return _between(text, "# variables: written from cml/variables.py", "    # /variables", template_variables())


def _between(text: str, begin: str, end: str, middle: str) -> str:
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{middle}\n{end}{after}"


def main() -> None:
    for path, write in (
        (TOP / "README.md", with_table),
        (TOP / "action.yml", with_inputs),
        (TEMPLATE, with_template),
    ):
        path.write_text(write(path.read_text()))
    COMPONENT.write_text(TEMPLATE.read_text())


if __name__ == "__main__":
    main()
