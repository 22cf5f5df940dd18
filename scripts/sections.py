"""Replaces the generated section of a file, and describes a variable as an input of YAML."""

from __future__ import annotations

import textwrap

from cml.config.variables import Variable


def replace_section(text: str, *, name: str, script: str, content: str, is_html: bool = False) -> str:
    """Returns the text with the content between the lines that begin and end a generated section.

    Raises ValueError if the text has no such section.
    """
    begin, end = f"begin generated: {name} ({script}, run `make generate`)", f"end generated: {name}"
    begin, end = (f"<!-- {begin} -->", f"<!-- {end} -->") if is_html else (f"# {begin}", f"# {end}")
    before, begins, rest = text.partition(f"{begin}\n")
    _, ends, after = rest.partition(f"{end}\n")
    if not begins or not ends:
        raise ValueError(f"the generated section {name!r} has no line {end if begins else begin!r}")
    indent = "" if is_html else before.rpartition("\n")[2]
    return f"{before}{begin}\n{content}\n{indent}{end}\n{after}"


def default_in_words(variable: Variable) -> str:
    """Returns a variable's default as tables show it: empty if it has none."""
    if variable.shown_default:
        return variable.shown_default
    return f"`{variable.default}`" if variable.default else ""


def choices_in_words(variable: Variable) -> str:
    """Returns the sentence that lists the allowed values, with a space in front; empty if the help names them all."""
    choices = [f"`{choice}`" for choice in variable.choices]
    if all(choice in variable.help for choice in choices):
        return ""
    return f" One of {', '.join(choices)}."


def description_lines(variable: Variable, text: str, *, indent: int) -> list[str]:
    """Returns name and description of an input as lines of YAML."""
    default = default_in_words(variable)
    sentence = f" Default: {default}." if default else ""
    margin = " " * (indent + 4)
    folded = textwrap.fill(
        f"{text}{sentence}", width=118, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
    )
    return [f"{' ' * indent}{variable.name}:", f"{' ' * indent}  description: >-", folded]
