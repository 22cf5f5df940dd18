"""`cml doctor`: checks the environment and explains how to fix it. Each check is independent of the others."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from cml import __version__
from cml.commands.doctor_gpu import check_machine
from cml.errors import CmlError
from cml.forges.base import Context
from cml.git.repository import Repository
from cml.model.check import Check, CheckStatus
from cml.plan.messages import count, list_names
from cml.process.masking import Masks
from cml.remotes.credentials import Credentials
from cml.remotes.errors import explain
from cml.remotes.kinds import holds_secret
from cml.run.context import Command, open_command

if TYPE_CHECKING:
    from cml.dvc.project import Project

LABELS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
FORGES = {"github": "GitHub", "gitlab": "GitLab"}


def doctor(options: Mapping[str, str], *, as_json: bool, with_write: bool) -> int:
    """Prints the result of every check. Returns 1 if one of them found a problem, else 0."""
    checks = [Check(name="cml", status="ok", found=f"{__version__} on Python {sys.version.split()[0]}")]
    try:
        with open_command(options) as command:
            try:
                # Libraries of storages print to stderr: capture it, so that it is masked.
                with command.log.capture_output("doctor"):
                    checks += check_machine(Path("/"), os.environ)
                    checks += _check_command(command, with_write=with_write)
            except CmlError as error:
                checks.append(_check_start(error))
            # Masked as a whole: messages of libraries may contain anything.
            text = command.log.masks.mask(_format(checks, as_json=as_json))
            return _print(text, checks, command.stdout)
    except CmlError as error:  # the settings are not valid, so there is no log with its masks
        checks += [_check_start(error), *check_machine(Path("/"), os.environ)]
        masks = Masks.from_environment(os.environ, holds_secret=holds_secret)
        return _print(masks.mask(_format(checks, as_json=as_json)), checks, sys.stdout)


def _check_start(error: CmlError) -> Check:
    """Why `cml run` would end before it has done anything."""
    return Check(name="start", status="problem", found=str(error))


def _check_command(command: Command, *, with_write: bool) -> Iterator[Check]:
    context, repository = command.context, command.repository
    yield _check_forge(context)
    yield _check_push(repository, context)
    if context.identity is None and not repository.has_identity():
        yield Check(
            name="author",
            status="problem",
            found="git has no name and email address for commits",
            advice="git config --global user.name NAME; git config --global user.email EMAIL",
        )
    try:
        yield from _check_project(command.open_project(), command.credentials, with_write=with_write)
    except CmlError as error:
        yield Check(name="project", status="problem", found=str(error))


def _check_forge(context: Context) -> Check:
    forge = FORGES.get(context.forge_name)
    found = f"{forge}, event {context.event}" if forge else "none (not in a CI job)"
    return Check(name="forge", status="ok", found=found)


def _check_push(repository: Repository, context: Context) -> Check:
    origin, branch = repository.origin_url(), context.push_branch or repository.current_branch()
    head = repository.head()
    if origin is None:
        found = "there is no git remote origin, so results cannot be pushed"
        return Check(name="git", status="note", found=found, advice="git remote add origin URL")
    if branch is None:
        found = "HEAD is detached, so results cannot be pushed"
        return Check(name="git", status="note", found=found, advice="git switch BRANCH")
    if head is None:
        return Check(name="git", status="problem", found="there is no commit yet", advice="git commit")
    # Behind is no problem: a run commits on top of what others have pushed.
    outcome = repository.try_push(head, branch)
    if outcome.is_done or outcome.is_behind:
        return Check(name="git", status="ok", found=f"origin accepts pushes to {branch}")
    found = f"origin does not accept a push to {branch}: {outcome.reason}"
    return Check(name="git", status="problem", found=found, advice=context.push_advice)


def _check_project(project: Project, credentials: Credentials, *, with_write: bool) -> Iterator[Check]:
    remotes = project.remotes()
    found = f"{count(len(project.section().stages), 'stage')}, {count(len(remotes), 'DVC remote')}"
    yield Check(name="project", status="ok", found=found)
    if outputs := project.outputs_without_remote():
        yield Check(
            name="remote",
            status="problem",
            found=f"no DVC remote is configured for these outputs: {list_names(outputs)}",
            advice="dvc remote add -d NAME URL",
        )
    for name in remotes:
        yield _check_remote(project, credentials, name, with_write=with_write)


def _check_remote(project: Project, credentials: Credentials, name: str, *, with_write: bool) -> Check:
    check, problem = credentials.check(name), project.probe_remote(name, with_write=with_write)
    status: CheckStatus
    uses = f"; uses {', '.join(check.found)}" if check.found else ""
    if problem is None:
        status, found = "ok", f"{check.kind}: can be {'read and written' if with_write else 'read'}{uses}"
    elif problem.kind == "not_created":
        status, found = "note", f"{check.kind}: {problem.message}{uses}"
    else:
        status, found = "problem", explain(name, check, problem)
    return Check(name=f"remote {name}", status=status, found=found, uses=check.found, missing=check.missing)


def _format(checks: list[Check], *, as_json: bool) -> str:
    if as_json:
        return json.dumps([asdict(check) for check in checks], indent=2) + "\n"
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{LABELS[check.status]:<8} {check.name:<{width}}  {check.found}")
        if check.advice:
            lines.append(f"{'':<8} {'':<{width}}  -> {check.advice}")
    return "\n".join(lines) + "\n"


def _print(text: str, checks: list[Check], stdout: TextIO) -> int:
    stdout.write(text)
    stdout.flush()
    return int(any(check.status == "problem" for check in checks))
