"""Runs a GitHub workflow, job by job, against the stand-in GitHub.

It knows only what pipeline.yml uses: `needs`, `if`, matrices, outputs, contexts, and steps that check out or run a
shell. Containers are not started: steps use the `cml` and the packages of this machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from support.jobs import GitHubJobs
from support.world import World

TOKEN = re.compile(r"\s*('(?:[^']|'')*'|\d+|[A-Za-z_][\w-]*|==|!=|&&|\|\||[()!.,\[\]])")
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
STATUS = ("always()", "success()", "failure()", "cancelled()")
MACHINES = 2  # legs of a matrix that run at the same time


def evaluate(text: str, contexts: Mapping[str, Any]) -> Any:
    """Returns the value of an expression. Raises ValueError if it is invalid, or if GitHub would refuse it."""
    tokens = TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s+(?=(?:[^']*'[^']*')*[^']*$)", "", text):
        raise ValueError(text)
    value = _either(tokens, contexts)
    if tokens:
        raise ValueError(f"{text}: {tokens} is left over")
    return value


def _either(tokens: list[str], contexts: Mapping[str, Any]) -> Any:
    value = _both(tokens, contexts)
    while tokens and tokens[0] == "||":
        tokens.pop(0)
        other = _both(tokens, contexts)
        value = value if _is_true(value) else other
    return value


def _both(tokens: list[str], contexts: Mapping[str, Any]) -> Any:
    value = _equal(tokens, contexts)
    while tokens and tokens[0] == "&&":
        tokens.pop(0)
        other = _equal(tokens, contexts)
        value = other if _is_true(value) else value
    return value


def _equal(tokens: list[str], contexts: Mapping[str, Any]) -> Any:
    value = _single(tokens, contexts)
    while tokens and tokens[0] in ("==", "!="):
        is_equal = tokens.pop(0) == "=="
        value = (value == _single(tokens, contexts)) is is_equal
    return value


def _single(tokens: list[str], contexts: Mapping[str, Any]) -> Any:
    token = tokens.pop(0)
    if token == "!":
        return not _is_true(_single(tokens, contexts))
    if token == "(":
        value = _either(tokens, contexts)
        _take(tokens, ")")
    elif token.startswith("'"):
        value = token[1:-1].replace("''", "'")
    elif token.isdigit():
        value = int(token)
    elif tokens and tokens[0] == "(":
        tokens.pop(0)
        given = [] if tokens[0] == ")" else [_either(tokens, contexts)]
        _take(tokens, ")")
        functions: dict[str, Callable[..., Any]] = {"always": lambda: True, "fromJSON": json.loads}
        value = functions[token](*given)
    else:
        value = contexts[token]  # an unknown context is refused; what is not in one is empty
    while tokens and tokens[0] in (".", "["):
        if tokens.pop(0) == ".":
            name: Any = tokens.pop(0)
        else:
            name = _either(tokens, contexts)
            _take(tokens, "]")
        value = _of(value, name)
    return value


def _of(value: Any, name: Any) -> Any:
    if isinstance(value, list):
        return value[name] if name < len(value) else None
    return value.get(name) if isinstance(value, dict) else None


def _take(tokens: list[str], token: str) -> None:
    if tokens.pop(0) != token:
        raise ValueError(f"{token} is missing")


def _is_true(value: Any) -> bool:
    return value not in (None, False, 0, "")


def filled(node: Any, contexts: Mapping[str, Any]) -> Any:
    """Returns a value with its expressions evaluated. A value that is only one expression keeps its type."""
    if isinstance(node, dict):
        return {key: filled(value, contexts) for key, value in node.items()}
    if isinstance(node, list):
        return [filled(value, contexts) for value in node]
    if not isinstance(node, str):
        return node
    if whole := EXPRESSION.fullmatch(node.strip()):
        return evaluate(whole[1], contexts)
    return EXPRESSION.sub(lambda found: _text(evaluate(found[1], contexts)), node)


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(kw_only=True)
class Leg:
    """One job on one machine: one entry of a matrix, or a job without a matrix."""

    job: str
    name: str
    runs_on: Any
    container: Any
    timeout: int
    result: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    log: str = ""


@dataclass(kw_only=True)
class WorkflowRun:
    """One run of a workflow that others call, for an event. `run` does what is not done yet, as a first try and as
    "Re-run failed jobs" do.
    """

    hub: GitHubJobs
    path: Path
    event: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    is_forks: bool = False  # whose token may read, whatever a job asks for
    legs: dict[str, list[Leg]] = field(default_factory=dict)
    id: int = 0

    def __post_init__(self) -> None:
        self.workflow = yaml.safe_load(self.path.read_text())
        call = self.workflow[True]["workflow_call"]  # YAML reads `on` as true
        assert set(self.inputs) <= set(call["inputs"])
        assert set(self.secrets) <= set(call["secrets"])
        self.inputs = {name: spec["default"] for name, spec in call["inputs"].items()} | dict(self.inputs)

    def run(self) -> str:
        """Returns "success", or "failure" where a job has failed."""
        if self.id:
            self._start("plan", rerun_of=self.id)
        for name, job in self.workflow["jobs"].items():
            needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
            if self._is_wanted(job, needs):
                self.legs[name] = self._job(name, job, needs)
            else:
                self.legs.pop(name, None)
        conclusion = "failure" if any(leg.result == "failure" for leg in self.all_legs()) else "success"
        self.hub.forge.finish_run(self.id, conclusion)
        return conclusion

    def all_legs(self) -> list[Leg]:
        return [leg for legs in self.legs.values() for leg in legs]

    def leg(self, name: str) -> Leg:
        (found,) = (leg for leg in self.all_legs() if leg.name == name)
        return found

    def outputs(self) -> dict[str, str]:
        """What the calling workflow sees."""
        specified = self.workflow[True]["workflow_call"]["outputs"]
        jobs = {name: {"outputs": legs[-1].outputs} for name, legs in self.legs.items()}
        return {name: _text(filled(spec["value"], {"jobs": jobs})) for name, spec in specified.items()}

    def group(self) -> str:
        """The group of runs that this one waits for."""
        return str(filled(self.workflow["concurrency"]["group"], self._contexts(self._start("plan"))))

    def _result(self, job: str) -> str:
        results = {leg.result for leg in self.legs.get(job, [])}
        return "failure" if "failure" in results else "success" if results else "skipped"

    def _is_wanted(self, job: Mapping[str, Any], needs: list[str]) -> bool:
        condition = str(job.get("if", "success()"))
        contexts = {"needs": self._needs(needs), "inputs": self.inputs}
        if not any(status in condition for status in STATUS):
            is_well = all(self._result(need) == "success" for need in needs)
            return is_well and _is_true(evaluate(condition, contexts))
        if condition == "success()":
            return all(self._result(need) == "success" for need in needs)
        return _is_true(evaluate(condition, contexts))

    def _needs(self, needs: list[str]) -> dict[str, Any]:
        legs = {need: self.legs.get(need, []) for need in needs}
        return {
            need: {"result": self._result(need), "outputs": legs[need][-1].outputs if legs[need] else {}}
            for need in needs
        }

    def _start(self, job: str, **facts: Any) -> dict[str, str]:
        env = self.hub.forge.event(job=job, **({"job_of": self.id} if self.id else {}) | facts, **self.event)
        self.id = int(env["GITHUB_RUN_ID"])
        return env

    def _contexts(self, env: Mapping[str, str], **more: Any) -> dict[str, Any]:
        github = {"sha": env["GITHUB_SHA"], "event": json.loads(Path(env["GITHUB_EVENT_PATH"]).read_text())}
        return {"github": github, "inputs": self.inputs, "secrets": self.secrets, **more}

    def _job(self, name: str, job: Mapping[str, Any], needs: list[str]) -> list[Leg]:
        matrices: list[dict[str, Any]] = [{}]
        if "strategy" in job:
            assert job["strategy"]["fail-fast"] is False
            matrices = filled(job["strategy"]["matrix"], {"needs": self._needs(needs)})["include"]
            assert 0 < len(matrices) <= 256
        done = {leg.name: leg for leg in self.legs.get(name, []) if leg.result == "success"}
        if done and len(done) == len(matrices) and name != "gather":
            return list(done.values())
        legs, work = [], []
        for matrix in matrices:
            env = self._start(name)
            kind: Literal["fork", "installation"] = "fork" if self.is_forks else "installation"
            token = self.hub.forge.token(kind, permissions=job["permissions"])
            contexts = self._contexts(env, needs=self._needs(needs), matrix=matrix)
            contexts["github"]["token"] = token
            leg = Leg(
                job=name,
                name=filled(job.get("name", name), contexts),
                runs_on=filled(job["runs-on"], contexts),
                container=filled(job["container"], contexts),
                timeout=filled(job["timeout-minutes"], contexts),
            )
            if leg.name in done:
                legs.append(done[leg.name])
                continue
            legs.append(leg)
            work.append((leg, job, env, contexts))
        with ThreadPoolExecutor(MACHINES) as machines:
            list(machines.map(lambda each: self._steps(*each), work))
        return legs

    def _steps(self, leg: Leg, job: Mapping[str, Any], env: dict[str, str], contexts: dict[str, Any]) -> None:
        world: World = self.hub.world
        contexts["steps"] = {}
        leg.result = "success"
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"actions/checkout@[0-9a-f]{40}", step["uses"])
                assert step["with"] == {"persist-credentials": False}
                workspace = self.hub.forge.checkout(env, token=contexts["github"]["token"], credentials="none")
                continue
            own = {**self.workflow["env"], **job.get("env", {}), **step.get("env", {})}
            told = {name: _text(value) for name, value in filled(own, contexts).items()}
            extra = {name: value for name, value in env.items() if name not in ("HOME", "PATH")} | told
            done = world.try_run("sh", "-e", "-c", step["run"], cwd=workspace, env=extra)
            leg.log += done.err + done.out
            assert "Traceback" not in leg.log, leg.log
            assert contexts["github"]["token"] not in leg.log
            if "id" in step:
                contexts["steps"][step["id"]] = {"outputs": read_outputs(Path(env["GITHUB_OUTPUT"]).read_text())}
            if done.code:
                leg.result = "failure"
                break
        leg.outputs = {name: _text(value) for name, value in filled(job.get("outputs", {}), contexts).items()}


def read_outputs(text: str) -> dict[str, str]:
    """Returns the outputs in a GITHUB_OUTPUT file: `name=value`, or `name<<MARK` and lines up to the mark."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        name, mark, rest = re.split(r"(=|<<)", line, maxsplit=1)
        if mark == "<<":
            value = []
            for inner in lines:
                if inner == rest:
                    break
                value.append(inner)
            rest = "\n".join(value)
        found[name] = rest
    return found
