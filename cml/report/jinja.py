"""Jinja as we use it: strict about names, with automatic escaping for Markdown or HTML, and a sandbox for templates of
users.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import (
    BytecodeCache,
    Environment,
    FileSystemBytecodeCache,
    FileSystemLoader,
    StrictUndefined,
    TemplateNotFound,
    pass_context,
)
from jinja2.bccache import Bucket
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from cml.report import escape
from cml.report.i18n import Translations, translations_of
from cml.report.template_files import templates_folder

Kind = Literal["md", "html"]
NAME_WIDTH = 60  # characters of a name, where a template asks for no other width
MEMORY_MB = 512
USER_TEMPLATE = "<template>"  # Jinja's name of a template that was not loaded from a file


class TimeIsUp(BaseException):
    """A template takes too long. No `except Exception` of Jinja can catch it."""


class TemplateProblem(ValueError):
    """A user's template is broken; the message is one line such as `line 3: 'metrix' is undefined`."""


def render(name: str, context: dict[str, Any], *, kind: Kind, name_width: int = NAME_WIDTH) -> str:
    """Renders one of our own templates in the language of the context."""
    return _environment(kind, name_width, context["language"], is_ours=True).get_template(name).render(context)


def render_pieces(name: str, context: dict[str, Any], *, kind: Kind) -> Iterator[str]:
    """Renders one of our own templates in pieces: a page with thousands of rows is large."""
    return _environment(kind, NAME_WIDTH, context["language"], is_ours=True).get_template(name).generate(context)


def render_user_template(text: str, context: dict[str, Any]) -> str:
    """Renders a user's Markdown template. Raises TemplateProblem for any error in it.

    For the child process of `sandbox` only, which has limits of time and memory.
    """
    # A template can raise any exception, also one of Python itself (recursion, memory): each is the template's error.
    try:
        return _environment("md", NAME_WIDTH, context["language"], is_ours=False).from_string(text).render(context)
    except (Exception, TimeIsUp) as error:
        raise TemplateProblem(_describe(error)) from None


def _describe(error: BaseException) -> str:
    """Returns a message of one line, with the line number of the user's template where it is known."""
    message = " ".join(str(error).split()) or type(error).__name__
    line = _line_of(error)
    if isinstance(error, TemplateNotFound):
        message = f"template {error.name!r} does not exist: extend 'report.md.j2'"
    elif isinstance(error, RecursionError | SyntaxError):
        # Jinja's own syntax errors are of another class: this one is Python's, about the code that Jinja generated.
        message = "it calls itself endlessly, or is nested too deeply"
    elif isinstance(error, MemoryError):
        message = f"it needs more than {MEMORY_MB} MB of memory"
    if line is None or isinstance(error, SyntaxError):  # whose line is one of the generated code
        return message
    return f"line {line}: {message}"


def _line_of(error: BaseException) -> int | None:
    """Returns the innermost line of the user's template: Jinja changes the traceback so that it names these lines."""
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
def _environment(kind: Kind, name_width: int, language: str, *, is_ours: bool) -> Environment:
    """Returns Jinja for our own templates or, in a sandbox that checks each attribute and each call, for a user's."""
    if kind == "html":
        escape_value = _escape_with(escape.html, escape.html)
    else:
        escape_value = _escape_with(escape.text, escape.number_text)
    environment = (Environment if is_ours else ImmutableSandboxedEnvironment)(
        loader=FileSystemLoader(templates_folder()),
        bytecode_cache=_bytecode_cache("ours" if is_ours else "sandbox"),
        autoescape=True,
        undefined=StrictUndefined,
        # Otherwise Jinja evaluates constants while it compiles: an error would have no line number.
        optimized=False,
        trim_blocks=True,
        lstrip_blocks=True,
        # A function with a context is not called while Jinja compiles, but when it renders.
        finalize=pass_context(lambda _, value: escape_value(value)),
    )
    for name in ("lipsum", "cycler", "joiner"):  # of no use in a report, and a way to Python's internals
        environment.globals.pop(name)
    environment.globals.update(_gettext_functions(translations_of(language), escape_value))
    # A limit of its own: a user's template may ask for any width, and `smallest.md.j2` for very short names.
    environment.filters["short"] = lambda value, width=None: _short(value, min(width or name_width, name_width * 5))
    environment.filters.update(_filters(kind))
    return environment


def _filters(kind: Kind) -> dict[str, Callable[..., Any]]:
    if kind == "html":
        return {"address": escape.web_address, "breakable": _markup_filter(escape.breakable)}
    return {
        "cell": _markup_filter(escape.cell),
        "code": _markup_filter(escape.code),
        "link": _markup_filter(escape.link),
        "image": _markup_filter(escape.image),
        "fence": _markup_filter(escape.fence),
        "revision": _markup_filter(escape.revision),
    }


class _PycacheBytecode(FileSystemBytecodeCache):
    def dump_bytecode(self, bucket: Bucket) -> None:
        if sys.dont_write_bytecode:
            return
        with contextlib.suppress(OSError):  # an installation that we may not write to: compiled in each run
            super().dump_bytecode(bucket)


def _bytecode_cache(kind: str) -> BytecodeCache:
    """Keeps compiled templates in the `__pycache__` of this package, as Python does with modules.

    Code for the sandbox is not the same, so each kind has its own files.
    """
    return _PycacheBytecode(str(Path(__file__).parent / "__pycache__"), f"%s.{kind}.jinja")


# Markup is text that Jinja does not escape again. Only these functions make it, each from text that was escaped.


def _escape_with(text: Callable[[str], str], number_text: Callable[[str], str]) -> Callable[[object], Markup]:
    """Returns the function that escapes every value that a template prints."""

    def escape_value(value: object) -> Markup:
        match value:
            case Markup():  # made by a filter, a macro or the template itself
                return value
            case None:
                return Markup()
            case escape.NumberText():
                return Markup(number_text(value))  # noqa: S704
            case _:
                return Markup(text(str(value)))  # noqa: S704

    return escape_value


def _gettext_functions(
    translations: Translations, escape_value: Callable[[object], Markup]
) -> dict[str, Callable[..., Markup]]:
    """Returns gettext's functions for templates, as in `_("Latest %(what)s", what=name)`; values are escaped."""

    def fill(message: str, values: dict[str, object]) -> Markup:
        text = str(escape_value(message))
        if values:
            text %= {name: escape_value(value) for name, value in values.items()}
        return Markup(text)  # noqa: S704

    def gettext(message: str, **values: object) -> Markup:
        return fill(translations.gettext(message), values)

    def pgettext(context: str, message: str, **values: object) -> Markup:
        return fill(translations.pgettext(context, message), values)

    def ngettext(one: str, many: str, count: int, **values: object) -> Markup:
        return fill(translations.ngettext(one, many, count), {"count": escape.NumberText(count), **values})

    def npgettext(context: str, one: str, many: str, count: int, **values: object) -> Markup:
        message = translations.npgettext(context, one, many, count)
        return fill(message, {"count": escape.NumberText(count), **values})

    return {"_": gettext, "pgettext": pgettext, "ngettext": ngettext, "npgettext": npgettext}


def _markup_filter(rule: Callable[..., str]) -> Callable[..., Markup]:
    """Returns a filter that applies a function of `escape`; text that was escaped before is unescaped first."""

    def filtered(value: Any, *arguments: Any) -> Markup:
        text = value.unescape() if isinstance(value, Markup) else value
        return Markup(rule(text, *arguments))  # noqa: S704

    return filtered


def _short(value: str, width: int) -> str:
    return type(value)(escape.shorten(value, width))  # Markup and NumberText keep their type
