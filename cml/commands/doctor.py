"""`cml doctor`: what this place has, what is missing, and what to do. Each check stands for itself."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

from cml import __version__
from cml.errors import CmlError
from cml.run.context import Command, open_command

if TYPE_CHECKING:
    from cml.dvc.project import Project

MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding: what was looked at, how it is, what was found, and what to do about it ("" for nothing).

    Of a remote, `uses` are the variables that are there for it, `missing` those of the usual way that are not.
    """

    name: str
    status: Literal["ok", "note", "problem"]
    found: str
    advice: str = ""
    uses: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def doctor(options: Mapping[str, str], *, as_json: bool, with_write: bool) -> int:
    """Prints every check; returns 1 when one of them is a problem, else 0."""
    from cml.commands.doctor_gpu import machine_checks

    checks = [Check(name="cml", status="ok", found=f"{__version__} on Python {sys.version.split()[0]}")]
    try:
        with open_command(options) as here:
            try:
                with here.log.capture_output("doctor"):  # what storages' libraries print goes through the masks
                    checks += machine_checks(Path("/"), os.environ)
                    checks += _checks(here, with_write=with_write)
            except CmlError as error:
                checks.append(_start(error))
            return _print(here.log.masks.mask(_text(checks, as_json=as_json)), checks, here.stdout)
    except CmlError as error:  # of settings: there is no session to speak through
        checks += [_start(error), *machine_checks(Path("/"), os.environ)]
        return _print(_text(checks, as_json=as_json), checks, sys.stdout)


def _start(error: CmlError) -> Check:
    return Check(name="start", status="problem", found=str(error))


def _text(checks: list[Check], *, as_json: bool) -> str:
    return json.dumps([asdict(check) for check in checks], indent=2) + "\n" if as_json else _table(checks)


def _print(text: str, checks: list[Check], terminal: TextIO) -> int:
    terminal.write(text)
    terminal.flush()
    return int(any(check.status == "problem" for check in checks))


def _checks(here: Command, *, with_write: bool) -> Iterator[Check]:
    context, repository = here.forge.context, here.repository
    yield Check(name="place", status="ok", found=f"{context.forge_name}, event {context.event}")
    origin, branch = repository.origin_url(), context.push_branch or repository.current_branch()
    if origin is None:
        yield Check(name="git", status="note", found="no remote origin", advice="git remote add origin URL, to push")
    elif branch is None:
        yield Check(name="git", status="note", found="HEAD is on no branch", advice="git switch BRANCH, to push")
    elif head := repository.head():
        outcome = repository.try_push(head, branch)
        if outcome.is_done or outcome.is_behind:
            yield Check(name="git", status="ok", found=f"origin takes pushes to {branch}")
        else:
            yield Check(name="git", status="problem", found=outcome.reason, advice=f"let this user write to {branch}")
    else:
        yield Check(name="git", status="problem", found="no commit yet", advice="git commit")
    if context.identity is None and not repository.has_identity():
        yield Check(name="author", status="problem", found="git knows none", advice="git config user.name, user.email")
    try:
        yield from _project(here, with_write=with_write)
    except CmlError as error:
        yield Check(name="project", status="problem", found=str(error))


def _project(here: Command, *, with_write: bool) -> Iterator[Check]:
    project = here.open_project()
    stages = len(project.section().stages)
    yield Check(name="project", status="ok", found=f"{stages} stages, {len(project.remotes())} DVC remotes")
    if homeless := project.outputs_without_remote():
        yield Check(
            name="remote",
            status="problem",
            found=f"no default DVC remote, and nowhere to go for {', '.join(homeless[:5])}",
            advice="dvc remote add -d NAME URL",
        )
    for name in project.remotes():
        yield _remote(here, project, name, with_write=with_write)


def _remote(here: Command, project: Project, name: str, *, with_write: bool) -> Check:
    from cml.remotes.errors import explain

    check, problem = here.credentials.check(name), project.probe_remote(name, with_write=with_write)
    status: Literal["ok", "note", "problem"] = "ok"
    uses = f"; uses {', '.join(check.found)}" if check.found else ""
    if problem is None:
        found = f"{check.kind}: can be {'read and written' if with_write else 'read'}{uses}"
    elif problem.kind == "not_created":
        status, found = "note", f"{check.kind}: {problem.message}{uses}"
    else:
        status, found = "problem", explain(name, check, problem)
    return Check(name=f"remote {name}", status=status, found=found, uses=check.found, missing=check.missing)


def _table(checks: list[Check]) -> str:
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{MARKS[check.status]:<8} {check.name:<{width}}  {check.found}")
        if check.advice:
            lines.append(f"{'':<8} {'':<{width}}  -> {check.advice}")
    return "\n".join(lines) + "\n"
