"""Writes the inputs of action.yml."""

from __future__ import annotations

from cml.config.variables import VARIABLES, Variable
from scripts.sections import choices_in_words, description_lines, replace_section


def generate(text: str) -> str:
    """Returns action.yml with an up-to-date list of inputs."""
    inputs = "\n".join(_input(variable) for variable in VARIABLES)
    return replace_section(text, name="inputs", script="scripts/action.py", content=inputs)


def _input(variable: Variable) -> str:
    lines = description_lines(variable, f"{variable.help}{choices_in_words(variable)}", indent=2)
    # No other input has a default here: an input that is not given must not override a variable under `env:`.
    if variable.name == "repo_token":
        lines.append("    default: ${{ github.token }}")
    return "\n".join(lines)
