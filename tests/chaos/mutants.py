"""Mutation testing: changes the code of the deciding modules and of the save order, and checks that a test fails.

    python tests/chaos/mutants.py [--per-module N] [--minutes M] [MODULE...]

Each mutant is a copy of the package with one small change. The tests of its module run on it, the quick ones first. N
random mutants of each module are tried. A mutant whose tests run too long counts as found; the output counts these,
because on a busy machine the time may have been too short. A mutant that no test can notice is listed in mutants.txt with
the reason; any other survivor is an error.

The existing tools change the source in place or in the same process. That does not work for tests that start `cml` as a
program.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.figures import count
from chaos.size import by_size, seeded_random

TOP = Path(__file__).parents[2]
EXPLAINED = Path(__file__).with_name("mutants.txt")
TESTS: dict[str, tuple[str, ...]] = {
    "cml/config/settings.py": ("tests/test_settings.py", "tests/test_bad_input.py"),
    "cml/git/trailers.py": ("tests/test_skip.py",),
    "cml/run/baseline.py": ("tests/test_baseline.py",),
    "cml/config/gates.py": ("tests/test_gates.py",),
    "cml/config/number_format.py": ("tests/test_numbers.py",),
    "cml/report/number_locale.py": ("tests/test_numbers.py",),
    "cml/report/number_writer.py": ("tests/test_numbers.py",),
    "cml/report/judgement.py": ("tests/test_gates.py",),
    "cml/report/directions.py": ("tests/test_gates.py",),
    "cml/model/report.py": ("tests/test_model.py", "tests/test_schema.py"),
    "cml/run/origin.py": ("tests/test_push.py", "tests/test_save.py"),
    "cml/run/save.py": ("tests/test_push.py", "tests/test_save.py"),
}
SECONDS = 300
ALIASES = {"Value", "Number", "Real"}  # names of types
NO_TESTS = 5  # pytest's exit status
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


@dataclass(frozen=True)
class Mutant:
    """One change: its module and function, the code before and after, and the whole new text of the module."""

    module: str
    function: str
    before: str
    after: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.module} {self.function}: {self.before} -> {self.after}"


class Mutator(ast.NodeTransformer):
    """Makes the n-th possible change of a module. Docstrings, type annotations and class decorators stay as they are."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.change: tuple[str, str, str] | None = None
        self._functions = ["(module)"]

    def _swap(self, node: ast.AST, new: ast.AST) -> ast.AST:
        self.left -= 1
        if self.left == 0:
            self.change = (self._functions[-1], ast.unparse(node)[:90], ast.unparse(new)[:90])
            return new
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._functions.append(node.name)
        node.body = [self.visit(each) for each in node.body]
        node.args.defaults = [self.visit(each) for each in node.args.defaults]
        self._functions.pop()
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [self.visit(each) for each in node.body]
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        target = ast.unparse(node.targets[0])
        if self._functions == ["(module)"] and target in ALIASES:
            return node
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value:
            self._functions.append(ast.unparse(node.target))
            node.value = self.visit(node.value)
            self._functions.pop()
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant):
            return node
        if isinstance(node.value, ast.Call):
            node.value = self.visit(node.value)
            return self._swap(node, ast.copy_location(ast.Pass(), node))
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return self._swap(node, ast.copy_location(ast.Pass(), node))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        for number, operator in enumerate(node.ops):
            other = [*node.ops]
            other[number] = COMPARISONS[type(operator)]()
            new = ast.copy_location(ast.Compare(left=node.left, ops=other, comparators=node.comparators), node)
            if (swapped := self._swap(node, new)) is new:
                return swapped
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return self._swap(node, ast.copy_location(ast.BoolOp(op=other, values=node.values), node))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return self._swap(node, node.operand) if isinstance(node.op, (ast.Not, ast.USub)) else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if type(node.op) not in OPERATORS:
            return node
        other = OPERATORS[type(node.op)]()
        return self._swap(node, ast.copy_location(ast.BinOp(left=node.left, op=other, right=node.right), node))

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        new = ast.copy_location(ast.IfExp(test=node.test, body=node.orelse, orelse=node.body), node)
        return self._swap(node, new)

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None):
            return node
        return self._swap(node, ast.copy_location(ast.Return(value=ast.Constant(value=None)), node))

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        match node.value:
            case bool():
                return self._swap(node, ast.copy_location(ast.Constant(value=not node.value), node))
            case int() | float():
                return self._swap(node, ast.copy_location(ast.Constant(value=node.value + 1), node))
        return node


def mutants_of(module: str) -> Iterator[Mutant]:
    source, at = (TOP / module).read_text(), 0
    while True:
        at += 1
        mutator = Mutator(at)
        tree = mutator.visit(ast.parse(source))
        if mutator.change is None:
            return
        function, before, after = (" ".join(each.split()) for each in mutator.change)
        yield Mutant(module, function, before, after, ast.unparse(ast.fix_missing_locations(tree)))


def run_tests(mutant: Mutant) -> str:
    """Runs the tests of the mutant's module; returns "killed", "late" (they ran too long) or "alive"."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        shutil.copytree(TOP / "cml", copy / "cml", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(TOP / "templates", copy / "templates")
        (copy / mutant.module).write_text(mutant.text)
        tests = [str(TOP / test) for test in TESTS[mutant.module]]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        # Installed pytest plugins take four times as long to import as everything that a quick test needs.
        bare = {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        environment = {**os.environ, **bare, "PYTHONPATH": folder, "CML_TEST_PACKAGE": folder}
        for options in (["-p", "chaos.quick_tests"], [f"--basetemp={copy / 'tmp'}"]):
            try:
                done = subprocess.run(
                    [*command, *options], cwd=TOP / "tests", env=environment, capture_output=True, timeout=SECONDS
                )
            except subprocess.TimeoutExpired:
                return "late"
            if done.returncode not in (0, NO_TESTS):
                return "killed"
    return "alive"


def explained_mutants() -> dict[str, str]:
    """Returns name -> reason of the mutants that no test can notice."""
    lines = (line for line in EXPLAINED.read_text().splitlines() if line.strip() and not line.startswith("#"))
    return {name.strip(): reason.strip() for name, _, reason in (line.partition(" # ") for line in lines)}


def try_module(module: str, per_module: int, until: float) -> bool:
    """Tries random mutants of a module and prints the result; returns whether each survivor is explained."""
    every = list(mutants_of(module))
    reasons = {name: reason for name, reason in explained_mutants().items() if name.startswith(f"{module} ")}
    outdated = reasons.keys() - {mutant.name for mutant in every}
    drawn = seeded_random(f"mutants {module}").sample(every, min(per_module, len(every)))

    def tried(mutant: Mutant) -> str:
        return run_tests(mutant) if time.monotonic() < until else ""

    with ThreadPoolExecutor(max_workers=2) as pool:
        answers = list(pool.map(tried, drawn))
    alive = [mutant for mutant, answer in zip(drawn, answers, strict=True) if answer == "alive"]
    number = sum(answer != "" for answer in answers)
    explained = [mutant for mutant in alive if mutant.name in reasons]
    count("mutants", tried=number, kept=number - len(alive) + len(explained), alive=len(alive))
    print(
        f"{module}: {number} of {len(every)} mutants tried, {len(alive)} not noticed ({len(explained)} of them "
        f"explained in mutants.txt), {answers.count('late')} timed out",
        flush=True,
    )
    for mutant in alive:
        print(f"  {mutant.name}{' # ' + reasons[mutant.name] if mutant.name in reasons else ''}", flush=True)
    for name in sorted(outdated):
        print(f"error: mutants.txt explains a mutant that does not exist: {name}", flush=True)
    return alive == explained and not outdated


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(TESTS))
    parser.add_argument("--per-module", type=int, default=by_size(6, 999))
    parser.add_argument("--minutes", type=float, default=60)
    chosen = parser.parse_args(arguments)
    until = time.monotonic() + 60 * chosen.minutes
    results = [try_module(module, chosen.per_module, until) for module in chosen.modules]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
