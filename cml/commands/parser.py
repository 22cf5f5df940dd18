"""The command line: the commands, their options and help texts, and which function each command calls."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from cml import __version__
from cml.config.variables import VARIABLES, Variable
from cml.errors import BadInput

FORMATS = ("json", "github", "gitlab", "mermaid", "dvc")
MOST_JOBS = 256  # the limit of a GitHub matrix, and half the limit of a GitLab pipeline
SEPARATOR = re.compile(r"[,\s]+")
Options = dict[str, str]


class PlanOptions(NamedTuple):
    """The options of `cml plan`. Those from `image` on are for GitLab."""

    format: str
    max_jobs: int
    max_waves: int | None
    image: str
    gpu_image: str
    tags: tuple[str, ...]
    gpu_tags: tuple[str, ...]


class Parser(argparse.ArgumentParser):
    """argparse, but its errors are BadInput."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (see {self.prog} --help)")


def dispatch(arguments: Sequence[str]) -> int:
    """Runs the command, and returns its exit code. Raises BadInput."""
    options = vars(_parser(arguments).parse_args(list(arguments)))
    command: Callable[[Options], int] = options.pop("command")
    return command({name: value for name, value in options.items() if value is not None})


def _parser(arguments: Sequence[str]) -> Parser:
    """Returns the parser for these arguments. Only commands that they name get their options, which takes time."""
    parser = Parser(prog="cml", description="Continuous machine learning for DVC projects, in the CI you have.")
    parser.add_argument("--version", action="version", version=f"cml {__version__}")
    add = partial(_add, parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser), arguments)
    run = add("run", _run, "pull data, reproduce the pipeline, save and report the results")
    run.add_argument("--stages", metavar="NAMES", help="run these stages only, as one job of a plan")
    _add_plan_options(add("plan", _plan, "list the stages that must run, grouped into CI jobs"))
    add("gather", _gather, "collect the results of all jobs of a plan, save and report them")
    add("report", _report, "report on the work tree: nothing is pulled, run, pushed or published")
    compare = add("compare", _compare, "report on two revisions")
    compare.add_argument("old", metavar="A", help="the baseline")
    compare.add_argument("new", metavar="B", help="the revision that is compared with it")
    publish = add("publish", _publish, "post a report that another run saved, for pull requests of forks")
    publish.add_argument("folder", metavar="DIR", help="the folder that contains report.json")
    doctor = add("doctor", _doctor, "check the environment and explain how to fix it")
    doctor.add_argument("--json", action="store_const", const="true", help="print the checks as JSON")
    doctor.add_argument("--write", action="store_const", const="true", help="write a small file to each DVC remote")
    return parser


def _add(
    commands: argparse._SubParsersAction[Parser],
    arguments: Sequence[str],
    name: str,
    command: Callable[[Options], int],
    text: str,
) -> Parser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(command=command)
    variables = parser.add_argument_group(
        "variables",
        "These are the same for all commands; a command ignores those that it does not need. README.md describes them.",
    )
    # A value may be the name of a command too: then its options are added for nothing, which only takes time.
    for variable in VARIABLES if name in arguments else ():
        if variable.is_option:
            is_switch = variable.kind == "boolean"
            variables.add_argument(
                f"--{variable.name.replace('_', '-')}",
                dest=variable.name,
                metavar="VALUE",
                help=_help_of(variable).replace("%", "%%"),
                nargs="?" if is_switch else None,
                const="true" if is_switch else None,
            )
    return parser


def _help_of(variable: Variable) -> str:
    """Returns the help of a variable, with its default if there is one that the help does not name."""
    default = variable.shown_default or variable.default
    if not default or "default" in variable.help.lower():
        return variable.help
    return f"{variable.help} Default: {default}."


def _add_plan_options(plan: Parser) -> None:
    plan.add_argument("--format", choices=FORMATS, default="json", help="format of the plan (default: json)")
    plan.add_argument("--max-jobs", metavar="N", default="20", help="at most N jobs, 1 to 256 (default: 20)")
    plan.add_argument("--max-waves", metavar="N", help="at most N jobs one after the other")
    plan.add_argument("--image", metavar="NAME", help="gitlab: image of the jobs (default: the image of this job)")
    plan.add_argument("--gpu-image", metavar="NAME", help="gitlab: image of GPU jobs (default: the image with -gpu)")
    plan.add_argument("--tags", metavar="NAMES", help="gitlab: runner tags of the jobs (default: none)")
    plan.add_argument("--gpu-tags", metavar="NAMES", help="gitlab: runner tags of GPU jobs (default: those of --tags)")


# What each command calls. Functions are named as "module:function", and imported when they are called: `cml --help` and
# a skipped run must not pay for DVC, and DVC must not be imported before the tokens are out of the environment.


def _run(options: Options) -> int:
    stages = options.pop("stages", None)
    if stages is None:
        return _call("cml.run.workflow:run", options)
    return _call("cml.run.plan_job:run_plan_job", options, SEPARATOR.split(stages.strip(" ,\n")))


def _plan(options: Options) -> int:
    max_waves = options.pop("max_waves", "")
    plan_options = PlanOptions(
        format=options.pop("format"),
        max_jobs=_count("max-jobs", options.pop("max_jobs")),
        max_waves=_count("max-waves", max_waves) if max_waves else None,
        image=options.pop("image", ""),
        gpu_image=options.pop("gpu_image", ""),
        tags=_names(options.pop("tags", "")),
        gpu_tags=_names(options.pop("gpu_tags", "")),
    )
    return _call("cml.commands.plan:plan", options, plan_options)


def _gather(options: Options) -> int:
    return _call("cml.run.gather:gather", options)


def _report(options: Options) -> int:
    return _call("cml.commands.report:report", options)


def _compare(options: Options) -> int:
    return _call("cml.commands.report:compare", options, options.pop("old"), options.pop("new"))


def _publish(options: Options) -> int:
    folder = Path(options.pop("folder")).absolute()  # before the working directory changes
    return _call("cml.commands.publish:publish", options, folder)


def _doctor(options: Options) -> int:
    as_json, with_write = "json" in options, "write" in options
    code: int = _import("cml.commands.doctor:doctor")(options, as_json=as_json, with_write=with_write)
    return code


def _call(function: str, options: Options, *arguments: object) -> int:
    """Sets up a command, calls its function, and cleans up. Returns the exit code."""
    # Only here: `cml --help` needs no credentials, no git and no forge.
    from cml.run.context import open_command

    with open_command(options) as command:
        code: int = _import(function)(command, *arguments)
        return code


def _import(function: str) -> Callable[..., Any]:
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


def _names(value: str) -> tuple[str, ...]:
    return tuple(name for name in SEPARATOR.split(value) if name)


def _count(name: str, value: str) -> int:
    # int() would also accept `1_0`, ` 5 ` and digits of other scripts.
    if not re.fullmatch(r"[0-9]{1,4}", value) or not 0 < int(value) <= MOST_JOBS:
        raise BadInput(f"--{name} is {value!r}: expected a whole number from 1 to {MOST_JOBS}")
    return int(value)
