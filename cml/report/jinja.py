"""Jinja as we use it: strict about names, escaping by itself for the kind of text that is made, and in a sandbox where
a template is a user's.

Jinja is imported where it is used: a skipped run must not pay for it.
"""

from __future__ import annotations

import contextlib
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cml.report import escape, templates_folder
from cml.report.i18n import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jinja2 import BytecodeCache, Environment
    from markupsafe import Markup

    from cml.report.i18n import Words

Kind = Literal["md", "html"]
SHORT = 60  # characters of a name
USER_TEMPLATE = "<template>"  # what Jinja calls a template that comes from no file


class TooLong(BaseException):
    """Time is up. No `except Exception` of Jinja's catches it."""


class TemplateProblem(ValueError):
    """The user's template is broken: `line 3: 'metrix' is undefined`."""


def render(name: str, context: dict[str, Any], *, kind: Kind, short: int = SHORT) -> str:
    """Renders one of our own templates in the context's `language`; names are cut to `short` characters."""
    return _environment(kind, short, context["language"], is_ours=True).get_template(name).render(context)


def render_pieces(name: str, context: dict[str, Any], *, kind: Kind) -> Iterator[str]:
    """Renders one of our own templates in pieces: a page of thousands of rows is large."""
    return _environment(kind, SHORT, context["language"], is_ours=True).get_template(name).generate(context)


def render_user_template(text: str, context: dict[str, Any]) -> str:
    """Renders the text of a user's Markdown template. Raises TemplateProblem, whatever is wrong with it.

    For the child process of `contained`, which ends what takes too long or too much memory.
    """
    try:
        return _environment("md", SHORT, context["language"], is_ours=False).from_string(text).render(context)
    except (Exception, TooLong) as error:
        raise TemplateProblem(_describe(error)) from None


def _describe(error: BaseException) -> str:
    from jinja2 import TemplateNotFound

    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, TemplateNotFound):
        message = f"there is no template {error.name!r}; ours is 'report.md.j2'"
    elif isinstance(error, RecursionError | SyntaxError):  # Python's own, of what Jinja made of the template
        message = "it calls itself without end, or is nested too deep"
    elif isinstance(error, MemoryError):
        message = "it needs more memory than a template gets"
    line = None if isinstance(error, SyntaxError) else _line_of(error)
    return f"line {line}: {message}" if line else message


def _line_of(error: BaseException) -> int | None:
    """The innermost line of the user's own template: Jinja rewrites the frames of an Exception so that they name it."""
    line: int | None = getattr(error, "lineno", None)
    trace = error.__traceback__
    while trace:
        code, names = trace.tb_frame.f_code, trace.tb_frame.f_globals
        if code.co_filename == USER_TEMPLATE:
            template = names.get("__jinja_template__")
            line = template.get_corresponding_lineno(trace.tb_lineno) if template else trace.tb_lineno
        trace = trace.tb_next
    return line


@lru_cache
def _environment(kind: Kind, short: int, language: str, *, is_ours: bool) -> Environment:
    """Jinja for our own templates, or for a user's, in a sandbox, which asks before each attribute and each call."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    text, figure = (escape.html, escape.html) if kind == "html" else (escape.text, escape.figure)
    escape_value = _escape_with(text, figure)
    environment = (Environment if is_ours else ImmutableSandboxedEnvironment)(
        loader=FileSystemLoader(templates_folder()),
        bytecode_cache=_compiled("ours" if is_ours else "sandbox"),
        autoescape=True,
        undefined=StrictUndefined,
        optimized=False,  # else what a template calculates is calculated while it is compiled, and no line is at fault
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=pass_context(lambda _, value: escape_value(value)),  # Jinja has a context only when it renders
    )
    for name in ("lipsum", "cycler", "joiner"):
        environment.globals.pop(name)
    environment.globals.update(_speech(words_of(language), escape_value))
    environment.filters["short"] = lambda value, width=None: _short(value, min(width or short, short * 5))
    if kind == "md":
        environment.filters.update(
            cell=_markup(escape.cell),
            code=_markup(escape.code),
            link=_markup(escape.link),
            image=_markup(escape.image),
            fence=_markup(escape.fence),
            revision=_markup(escape.revision),
        )
    else:
        environment.filters.update(address=escape.web_address, breakable=_markup(escape.breakable))
    return environment


def _compiled(kind: str) -> BytecodeCache:
    """Keeps our templates compiled where Python keeps this package's modules compiled, and by the same rules; each kind
    of its own, since code for the sandbox is another.
    """
    from jinja2 import FileSystemBytecodeCache
    from jinja2.bccache import Bucket

    class Compiled(FileSystemBytecodeCache):
        def dump_bytecode(self, bucket: Bucket) -> None:
            with contextlib.suppress(OSError):  # where an administrator installed us, it is compiled each time
                if not sys.dont_write_bytecode:
                    super().dump_bytecode(bucket)

    return Compiled(str(Path(__file__).parent / "__pycache__"), f"%s.{kind}.jinja")


def _escape_with(text: Callable[[str], str], figure: Callable[[str], str]) -> Callable[[object], Markup]:
    """Returns what escapes all that Jinja prints, but for what a filter, a macro or the template itself made.

    Here, in `_speech` and in `_markup`, a string becomes Markup: after it was escaped.
    """
    from markupsafe import Markup

    def escape_value(value: object) -> Markup:
        match value:
            case Markup():
                return value
            case None:
                return Markup()
            case escape.Figure():
                return Markup(figure(value))  # noqa: S704
            case _:
                return Markup(text(str(value)))  # noqa: S704

    return escape_value


def _speech(words: Words, escape_value: Callable[[object], Markup]) -> dict[str, Callable[..., Markup]]:
    """Returns gettext's functions for templates: `_("Latest %(what)s", what=name)`, values escaped on their way in."""
    from markupsafe import Markup

    def fill(message: str, values: dict[str, object]) -> Markup:
        text = str(escape_value(message))
        return Markup(text % {name: escape_value(value) for name, value in values.items()} if values else text)  # noqa: S704

    return {
        "_": lambda message, **values: fill(words.gettext(message), values),
        "pgettext": lambda context, message, **values: fill(words.pgettext(context, message), values),
        "ngettext": lambda one, many, count, **values: fill(
            words.ngettext(one, many, count), {"count": escape.Figure(count), **values}
        ),
        "npgettext": lambda context, one, many, count, **values: fill(
            words.npgettext(context, one, many, count), {"count": escape.Figure(count), **values}
        ),
    }


def _markup(rule: Callable[..., str]) -> Callable[..., Markup]:
    from markupsafe import Markup

    def filtered(value: Any, *arguments: Any) -> Markup:
        return Markup(rule(value.unescape() if isinstance(value, Markup) else value, *arguments))  # noqa: S704

    return filtered


def _short(value: str, width: int) -> str:
    return type(value)(escape.shorten(value, width))
