"""The commands and their options, as argparse takes them apart, and what each of them starts."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from cml import __version__
from cml.errors import BadInput
from cml.variables import VARIABLES


class Parser(argparse.ArgumentParser):
    """argparse, with its errors as one line of ours."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (see {self.prog} --help)")


def dispatch(arguments: Sequence[str]) -> int:
    """Does what the command line says; returns the exit code. Raises BadInput."""
    options = vars(_parser().parse_args(list(arguments)))
    command: Callable[[dict[str, str]], int] = options.pop("command")
    return command({name: value for name, value in options.items() if value is not None})


def _parser() -> Parser:
    parser = Parser(prog="cml", description="Continuous machine learning for DVC projects, in the CI you have.")
    parser.add_argument("--version", action="version", version=f"cml {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    _add(commands, "run", _run, "pull, reproduce, save and report: the main job")
    _add(commands, "report", _report, "report on what is here: no pull, reproduce, push or publishing")
    compare = _add(commands, "compare", _compare, "report on any two revisions")
    compare.add_argument("old", metavar="A", help="the baseline")
    compare.add_argument("new", metavar="B", help="what is compared with it")
    publish = _add(commands, "publish", _publish, "post a report that another run saved, for pull requests of forks")
    publish.add_argument("folder", metavar="DIR", help="the folder with its report.json")
    doctor = _add(commands, "doctor", _doctor, "say what this place has, what is missing and what to do")
    doctor.add_argument("--json", action="store_const", const="true", help="print the findings as JSON")
    doctor.add_argument("--write", action="store_const", const="true", help="try one small write on each DVC remote")
    return parser


def _add(
    commands: argparse._SubParsersAction[Parser], name: str, command: Callable[[dict[str, str]], int], text: str
) -> Parser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(command=command)
    for variable in VARIABLES:
        if variable.is_option:
            is_switch = variable.kind == "boolean"
            parser.add_argument(
                f"--{variable.name.replace('_', '-')}",
                dest=variable.name,
                metavar="VALUE",
                help=variable.help.replace("%", "%%"),
                nargs="?" if is_switch else None,
                const="true" if is_switch else None,
            )
    return parser


def _run(options: dict[str, str]) -> int:
    from cml.session import session

    with session(options) as here:
        from cml.run import run

        return run(here)


def _report(options: dict[str, str]) -> int:
    from cml.session import session

    with session(options) as here:
        from cml.look import report

        return report(here)


def _compare(options: dict[str, str]) -> int:
    old, new = options.pop("old"), options.pop("new")
    from cml.session import session

    with session(options) as here:
        from cml.look import compare

        return compare(here, old, new)


def _publish(options: dict[str, str]) -> int:
    folder = Path(options.pop("folder")).absolute()
    from cml.session import session

    with session(options) as here:
        from cml.look import publish

        return publish(here, folder)


def _doctor(options: dict[str, str]) -> int:
    as_json, with_write = "json" in options, "write" in options
    from cml.doctor import doctor

    return doctor(options, as_json=as_json, with_write=with_write)
