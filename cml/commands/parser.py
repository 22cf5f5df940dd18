"""The commands and their options, as argparse takes them apart, and what each of them starts."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from cml import __version__
from cml.config.variables import VARIABLES
from cml.errors import BadInput

FORMATS = ("json", "github", "gitlab", "mermaid", "dvc")
MOST_JOBS = 256  # of a matrix of GitHub's; half of what GitLab lets a pipeline have


class Parser(argparse.ArgumentParser):
    """argparse, with its errors as one line of ours."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (see {self.prog} --help)")


def dispatch(arguments: Sequence[str]) -> int:
    """Does what the command line says; returns the exit code. Raises BadInput."""
    options = vars(_parser(arguments).parse_args(list(arguments)))
    command: Callable[[dict[str, str]], int] = options.pop("command")
    return command({name: value for name, value in options.items() if value is not None})


def _parser(arguments: Sequence[str]) -> Parser:
    """Returns the parser of these arguments: the options of commands that they do not name take argparse its time."""
    parser = Parser(prog="cml", description="Continuous machine learning for DVC projects, in the CI you have.")
    parser.add_argument("--version", action="version", version=f"cml {__version__}")
    add = partial(_add, parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser), arguments)
    run = add("run", _run, "pull, reproduce, save and report: the main job")
    run.add_argument("--stages", metavar="NAMES", help="one job of a plan: run these alone, and hand their results on")
    plan = add("plan", _plan, "say which stages must run, as jobs of a CI")
    plan.add_argument("--format", choices=FORMATS, default="json", help="what the plan is written for (default: json)")
    plan.add_argument("--max-jobs", metavar="N", default="20", help="at most so many jobs, 1 to 256 (default: 20)")
    plan.add_argument("--max-waves", metavar="N", help="at most so many jobs one after the other")
    plan.add_argument("--image", metavar="NAME", help="gitlab: the image of the jobs (default: this job's)")
    plan.add_argument("--gpu-image", metavar="NAME", help="gitlab: the image on a GPU (default: the other with -gpu)")
    plan.add_argument("--tags", metavar="NAMES", help="gitlab: the tags of the runners (default: none)")
    plan.add_argument("--gpu-tags", metavar="NAMES", help="gitlab: the tags of those with a GPU (default: the same)")
    add("gather", _gather, "the end of a plan: take the results of all its jobs, save and report them")
    add("report", _report, "report on what is here: no pull, reproduce, push or publishing")
    compare = add("compare", _compare, "report on any two revisions")
    compare.add_argument("old", metavar="A", help="the baseline")
    compare.add_argument("new", metavar="B", help="what is compared with it")
    publish = add("publish", _publish, "post a report that another run saved, for pull requests of forks")
    publish.add_argument("folder", metavar="DIR", help="the folder with its report.json")
    doctor = add("doctor", _doctor, "say what this place has, what is missing and what to do")
    doctor.add_argument("--json", action="store_const", const="true", help="print the findings as JSON")
    doctor.add_argument("--write", action="store_const", const="true", help="try one small write on each DVC remote")
    return parser


def _add(
    commands: argparse._SubParsersAction[Parser],
    arguments: Sequence[str],
    name: str,
    command: Callable[[dict[str, str]], int],
    text: str,
) -> Parser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(command=command)
    for variable in VARIABLES if name in arguments else ():
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
    stages = options.pop("stages", None)
    from cml.run.context import session

    with session(options) as here:
        if stages is not None:
            from cml.run.plan_jobs import run_part

            return run_part(here, re.split(r"[,\s]+", stages.strip(" ,\n")))
        from cml.run.workflow import run

        return run(here)


def _plan(options: dict[str, str]) -> int:
    from cml.plan.formats import GitLabDefaults

    wanted = options.pop("format")
    defaults = GitLabDefaults(
        image=options.pop("image", ""),
        gpu_image=options.pop("gpu_image", ""),
        tags=_names(options.pop("tags", "")),
        gpu_tags=_names(options.pop("gpu_tags", "")),
    )
    max_jobs = _count("max-jobs", options.pop("max_jobs"), MOST_JOBS)
    max_waves = _count("max-waves", waves, MOST_JOBS) if (waves := options.pop("max_waves", "")) else None
    from cml.run.context import session

    with session(options) as here:
        from cml.run.plan_jobs import plan

        return plan(here, wanted=wanted, max_jobs=max_jobs, max_waves=max_waves, defaults=defaults)


def _names(value: str) -> tuple[str, ...]:
    return tuple(name for name in re.split(r"[,\s]+", value) if name)


def _count(name: str, value: str, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", value) or not 0 < int(value) <= most:
        raise BadInput(f"--{name} is {value!r}: expected a whole number from 1 to {most}")
    return int(value)


def _gather(options: dict[str, str]) -> int:
    from cml.run.context import session

    with session(options) as here:
        from cml.run.plan_jobs import gather

        return gather(here)


def _report(options: dict[str, str]) -> int:
    from cml.run.context import session

    with session(options) as here:
        from cml.commands.report import report

        return report(here)


def _compare(options: dict[str, str]) -> int:
    old, new = options.pop("old"), options.pop("new")
    from cml.run.context import session

    with session(options) as here:
        from cml.commands.report import compare

        return compare(here, old, new)


def _publish(options: dict[str, str]) -> int:
    folder = Path(options.pop("folder")).absolute()
    from cml.run.context import session

    with session(options) as here:
        from cml.commands.report import publish

        return publish(here, folder)


def _doctor(options: dict[str, str]) -> int:
    as_json, with_write = "json" in options, "write" in options
    from cml.commands.doctor import doctor

    return doctor(options, as_json=as_json, with_write=with_write)
