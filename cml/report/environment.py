"""Jinja as we use it: sandboxed, strict about names, and escaping by itself for the kind of text that is made.

Jinja is imported where it is used: a skipped run must not pay for it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cml.report import markup

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from markupsafe import Markup

Kind = Literal["md", "html"]
SHORT = 60  # characters of a name
USER_TEMPLATE = "<template>"  # what Jinja calls a template that comes from no file


class TemplateProblem(ValueError):
    """The user's template is broken: `line 3: 'metrix' is undefined`."""


def templates_folder() -> Path:
    """Where our templates lie: in the installed package, else in the repository."""
    installed = Path(__file__).parent / "templates"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "templates" / "report"


def render(name: str, context: dict[str, Any], *, kind: Kind, short: int = SHORT) -> str:
    """Renders one of our own templates; names are cut to `short` characters."""
    return _environment(kind, short).get_template(name).render(context)


def render_user_template(text: str, context: dict[str, Any]) -> str:
    """Renders the text of a user's Markdown template. Raises TemplateProblem."""
    from jinja2 import TemplateError

    try:
        return _environment("md", SHORT).from_string(text).render(context)
    except (TemplateError, ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise TemplateProblem(_describe(error)) from None
    except RecursionError as error:
        raise TemplateProblem(f"{_describe(error)}: the template calls itself without end") from None


def _describe(error: Exception) -> str:
    """Jinja rewrites a traceback so that its frames name the template's own lines; the innermost is the one."""
    from jinja2 import TemplateNotFound

    line, trace = getattr(error, "lineno", None), error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == USER_TEMPLATE:
            line = trace.tb_lineno
        trace = trace.tb_next
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, TemplateNotFound):
        message = f"there is no template {error.name!r}; ours is 'report.md.j2'"
    return f"line {line}: {message}" if line else message


@lru_cache
def _environment(kind: Kind, short: int) -> ImmutableSandboxedEnvironment:
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(templates_folder()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize_with(markup.html, markup.html)
        if kind == "html"
        else _finalize_with(markup.text, markup.figure),
    )
    for name in ("lipsum", "cycler", "joiner"):
        environment.globals.pop(name)
    environment.filters["short"] = lambda value, width=None: _short(value, min(width or short, short * 5))
    if kind == "md":
        environment.filters.update(
            code=_markup(markup.code),
            link=_markup(markup.link),
            fence=_markup(markup.fence),
            revision=_markup(markup.revision),
        )
    else:
        environment.filters["address"] = markup.web_address
    return environment


def _finalize_with(text: Callable[[str], str], figure: Callable[[str], str]) -> Callable[[object], Markup]:
    """Returns what escapes all that Jinja prints, but for what a filter, a macro or the template itself made.

    Here, and in `_markup`, a string becomes Markup: after it was escaped.
    """
    from markupsafe import Markup

    def finalize(value: object) -> Markup:
        match value:
            case Markup():
                return value
            case None:
                return Markup()
            case markup.Figure():
                return Markup(figure(value))  # noqa: S704
            case _:
                return Markup(text(str(value)))  # noqa: S704

    return finalize


def _markup(escape: Callable[..., str]) -> Callable[..., Markup]:
    from markupsafe import Markup

    return lambda *arguments: Markup(escape(*arguments))  # noqa: S704


def _short(value: str, width: int) -> str:
    return type(value)(markup.shorten(value, width))
