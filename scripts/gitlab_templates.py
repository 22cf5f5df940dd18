"""Writes the inputs and the job variables of the GitLab templates."""

from __future__ import annotations

import json

import yaml

from cml.config.variables import VARIABLES, Variable
from scripts.sections import description_lines, replace_section

SCRIPT = "scripts/gitlab_templates.py"
# GitLab keeps the `$` of these variables: it belongs to the shell, or to the grammar of numeral.js.
NOT_EXPANDED = {"metrics_format", *(variable.name for variable in VARIABLES if variable.kind == "lines")}
# What GitLab adds to the help of a variable.
NOTES = {"setup": "GitLab does not expand `$` here: the shell does, and it sees every variable of the job."}


def generate(text: str) -> str:
    """Returns a template of `gitlab/` with up-to-date inputs and job variables."""
    options = [variable for variable in VARIABLES if variable.is_option]  # no secret is an input
    inputs = "\n".join(_input(variable) for variable in options)
    variables = "\n".join(_job_variable(variable) for variable in options)
    text = replace_section(text, name="inputs", script=SCRIPT, content=inputs)
    return replace_section(text, name="variables", script=SCRIPT, content=variables)


def _input(variable: Variable) -> str:
    values = ("true", "false") if variable.kind == "boolean" else variable.choices
    note = f" {NOTES[variable.name]}" if variable.name in NOTES else ""
    if variable.kind == "number" or any(not isinstance(yaml.safe_load(value), str) for value in values):
        note += " In quotes."  # YAML reads a bare `off`, `true` or 5 as no text, and GitLab wants a text
    lines = description_lines(variable, f"{variable.help}{note}", indent=4)
    # Every default is empty: an input that is not given must not override a variable under `variables:`.
    lines.append('      default: ""')
    if values:
        lines.append(f"      options: [{', '.join(json.dumps(value) for value in ('', *values))}]")
    return "\n".join(lines)


def _job_variable(variable: Variable) -> str:
    name, value = f"    INPUT_{variable.name.upper()}:", f"$[[ inputs.{variable.name} ]]"
    if variable.name in NOT_EXPANDED:
        return f"{name}\n      value: {value}\n      expand: false"
    return f"{name} {value}"
