"""The layout of `cml/`: which module may import which, what a module may touch, how long it may be.

The tables at the top are the rules. `KNOWN` names what still breaks one, with the reason; an entry that is no longer
needed fails its test.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

TOP = Path(__file__).resolve().parent.parent

# From top to bottom. A module imports from its own package and from lower lines, never from a higher line, and never
# from another package on its own line.
LAYERS = (
    ("cml.cli",),
    ("cml.commands",),
    ("cml.run",),
    ("cml.plan",),
    ("cml.dvc",),
    ("cml.remotes", "cml.forges", "cml.report"),
    ("cml.model",),
    ("cml.git", "cml.config"),
    ("cml.process",),
    ("cml.errors",),
)
# The same inside `cml.forges`: one module or folder for each forge, and below them what all of them use.
FORGE_LAYERS = (
    ("cml.forges.github", "cml.forges.gitlab", "cml.forges.local"),
    ("cml.forges.base", "cml.forges.retry"),
)
# These read no file, start no process and open no connection, nor does anything that they import.
PURE = (
    "cml.config",
    "cml.errors",
    "cml.git.trailers",
    "cml.model",
    "cml.plan.formats",
    "cml.plan.grouping",
    "cml.process.masking",
    "cml.report.directions",
    "cml.report.escape",
    "cml.report.formatting",
    "cml.report.judgement",
    "cml.report.sections",
    "cml.report.truncation",
    "cml.report.view",
    "cml.report.view_builder",
)
IO_MODULES = (
    "cml.git.command",
    "fcntl",
    "http",
    "requests",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "urllib.request",
)
IO_CALLS = frozenset(
    {
        *("exists", "glob", "is_dir", "is_file", "iterdir", "mkdir", "read_bytes", "read_text", "rglob", "stat"),
        *("symlink_to", "touch", "unlink", "write_bytes", "write_text"),
    }
)
# Packages that take long to import, or that are private to one part: which of our packages may import them.
ONLY_IN = {
    "actions_toolkit": ("cml.cli", "cml.forges.github"),
    "babel": ("cml.report",),
    "dulwich": ("cml.dvc",),
    "dvc": ("cml.dvc", "cml.remotes"),
    "git": (),
    "github": ("cml.forges.github",),
    "gitlab": ("cml.forges.gitlab",),
    "jinja2": ("cml.report",),
    "pygit2": ("cml.dvc",),
    "pynvml": ("cml.process.gpu",),
    "scmrepo": ("cml.dvc",),
    "vl_convert": ("cml.report.plots",),
}
HEAVY = tuple(name for name in ONLY_IN if name != "git")
# Only these start a process; only `cml.git` starts git.
PROCESSES_IN = (
    "cml.git.command",
    "cml.report.plots.render",
    "cml.report.sandbox",
    "cml.run.steps",
)
# What `cml --help` imports: the import statements outside of functions, from there on, reach nothing heavy.
ENTRY_POINTS = ("cml.cli", "cml.commands.parser")

LEVELS = 9
TOP_ENTRIES = 18
MODULE_LINES = 400
FUNCTION_LINES = 80
FUNCTION_IMPORTS = 25
COMMENT_PERCENT = 3.0

# Rule -> what breaks it -> why it still may.
KNOWN: dict[str, dict[str, str]] = {}


When = Literal["start", "call", "types"]


@dataclass(frozen=True, kw_only=True)
class Import:
    """One imported name: the module that it is in, and when the import happens."""

    target: str
    line: int
    when: When


@dataclass(frozen=True, kw_only=True)
class Module:
    name: str
    text: str
    tree: ast.Module
    imports: tuple[Import, ...]

    def imported(self, *when: str) -> set[str]:
        return {each.target for each in self.imports if not when or each.when in when}


PATHS = {
    ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((TOP / "cml").rglob("*.py"))
}


@cache
def modules() -> dict[str, Module]:
    found = {}
    for name, path in PATHS.items():
        text = path.read_text()
        tree = ast.parse(text)
        found[name] = Module(name=name, text=text, tree=tree, imports=tuple(_imports(tree, "start")))
    return found


def _imports(node: ast.AST, when: When) -> Iterator[Import]:
    """The imports below a node, in the order of the file."""
    if isinstance(node, ast.Import):
        yield from (Import(target=alias.name, line=node.lineno, when=when) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield Import(target=full if full in PATHS else node.module, line=node.lineno, when=when)
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for statement in node.body:
            yield from _imports(statement, "types")
        for statement in node.orelse:
            yield from _imports(statement, when)
    else:
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            yield from _imports(child, "call" if is_function else when)


def is_in(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


class Layer(NamedTuple):
    """The place of a package in a table of layers; 0 is the top."""

    number: int
    package: str


def layer_of(name: str, layers: tuple[tuple[str, ...], ...]) -> Layer | None:
    for number, layer in enumerate(layers):
        for package in layer:
            if is_in(name, [package]):
                return Layer(number, package)
    return None


def graph(*when: str) -> dict[str, set[str]]:
    """Our modules, and those of ours that each imports."""
    return {
        name: {target for target in module.imported(*when) if target in PATHS} for name, module in modules().items()
    }


def chain(start: str, edges: Mapping[str, set[str]], is_wanted: Callable[[str], bool]) -> str:
    """The shortest chain of imports from a module to one that is wanted, as text; empty where there is none."""
    before: dict[str, str] = {}
    waiting = [start]
    for name in waiting:
        if is_wanted(name):
            names = [name]
            while names[0] != start:
                names.insert(0, before[names[0]])
            return " -> ".join(names)
        for target in sorted(edges.get(name, ())):
            if target != start and target not in before:
                before[target] = name
                waiting.append(target)
    return ""


def cycles(edges: Mapping[str, set[str]]) -> list[str]:
    """Each group of names that reach each other, as one text."""
    reached: dict[str, set[str]] = {}
    for start in edges:
        seen: set[str] = set()
        waiting = list(edges[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += edges.get(name, ())
        reached[start] = seen
    groups = {
        " <-> ".join(sorted(other for other in reached[name] if name in reached.get(other, ())))
        for name in edges
        if name in reached[name]
    }
    return sorted(groups)


def package_of(name: str) -> str:
    return ".".join(name.split(".")[:2])


def package_graph() -> dict[str, set[str]]:
    """The entries of `cml/`, and those that each imports."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, targets in graph().items():
        found[package_of(name)] |= {package_of(target) for target in targets} - {package_of(name)}
    return dict(found)


def check(rule: str, found: Mapping[str, str]) -> None:
    """Fails on what breaks a rule and is not known, and on what is known and no longer breaks it."""
    known = KNOWN.get(rule, {})
    new = [f"{key}: {text}" for key, text in sorted(found.items()) if key not in known]
    assert not new, f"{rule}:\n" + "\n".join(new)
    stale = sorted(set(known) - set(found))
    assert not stale, f"remove from KNOWN[{rule!r}]: {', '.join(stale)}"


# Who imports whom


def test_chains_and_cycles_are_found() -> None:
    """The helpers of this module, on a small graph."""
    edges = {"a": {"b"}, "b": {"c", "d"}, "c": {"b"}, "d": set()}
    assert chain("a", edges, lambda name: name == "d") == "a -> b -> d"
    assert chain("d", edges, lambda name: name == "a") == ""
    assert cycles(edges) == ["b <-> c"]
    assert "cml.errors" in graph()["cml.cli"]


def test_every_module_is_in_a_layer() -> None:
    outside = [name for name in PATHS if name != "cml" and not layer_of(name, LAYERS)]
    outside += [name for name in PATHS if name.startswith("cml.forges.") and not layer_of(name, FORGE_LAYERS)]
    assert not outside


@pytest.mark.parametrize(("rule", "layers"), [("direction", LAYERS), ("forges", FORGE_LAYERS)])
def test_imports_go_down_only(rule: str, layers: tuple[tuple[str, ...], ...]) -> None:
    """Imports inside functions and for types included. Where each import goes down, no chain of imports goes up."""
    found = {}
    for name, targets in graph().items():
        for target in targets:
            own, other = layer_of(name, layers), layer_of(target, layers)
            if own and other and own.package != other.package and other.number <= own.number:
                found[f"{name} -> {target}"] = f"{other.package} is not below {own.package}"
    check(rule, found)


def test_no_import_cycle() -> None:
    check("cycles", dict.fromkeys([*cycles(graph()), *cycles(package_graph())], "import each other"))


def test_few_levels_and_few_entries() -> None:
    edges = package_graph()

    def level(name: str, above: frozenset[str]) -> int:
        below = edges.get(name, set()) - above
        return 1 + max((level(target, above | {target}) for target in below), default=0)

    levels = max(level(name, frozenset({name})) for name in edges)
    entries = [path.name for path in (TOP / "cml").iterdir() if not path.name.startswith(("__", "."))]
    found = {}
    if levels > LEVELS:
        found["levels"] = f"{levels}, at most {LEVELS}"
    if len(entries) > TOP_ENTRIES:
        found["entries"] = f"{len(entries)}, at most {TOP_ENTRIES}"
    check("size of the layout", found)


def test_packages_are_imported_for_free() -> None:
    """An `__init__.py` holds a docstring, and the version."""
    found = {}
    for name, module in modules().items():
        if PATHS[name].name == "__init__.py" and name != "cml" and len(module.tree.body) != 1:
            found[name] = "holds more than a docstring"
    check("__init__", found)


# What a module may touch


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_package_is_imported_where_it_belongs(package: str) -> None:
    """DVC is several packages: dvc, dvc_data, dvc_objects, dvc_render, dvc_s3 and so on."""
    found = {}
    for name, module in modules().items():
        for target in module.imported():
            first = target.partition(".")[0]
            is_it = first.startswith("dvc") if package == "dvc" else first == package
            if is_it and not is_in(name, ONLY_IN[package]):
                found[name] = f"imports {target}, which only {' and '.join(ONLY_IN[package]) or 'nobody'} may"
    check(f"only in: {package}", found)


@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_an_entry_point_imports_nothing_heavy(entry: str) -> None:
    edges = {name: module.imported("start") for name, module in modules().items()}
    path = chain(entry, edges, lambda name: is_in(name, HEAVY) or name.startswith("dvc"))
    assert not path


def test_pure_modules_do_no_io() -> None:
    edges = {name: module.imported("start", "call") for name, module in modules().items()}
    found = {}
    for name, module in modules().items():
        if not is_in(name, PURE):
            continue
        if path := chain(name, edges, lambda other: is_in(other, IO_MODULES)):
            found[name] = path
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and _called(node) in IO_CALLS | {"open"}:
                found[name] = f"line {node.lineno} calls {ast.unparse(node.func)}"
    check("pure", found)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def test_only_some_modules_start_processes() -> None:
    found = {}
    for name, module in modules().items():
        if "subprocess" in module.imported() and not is_in(name, PROCESSES_IN):
            found[name] = "imports subprocess"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node).startswith(("os.spawn", "os.exec", "os.system")):
                found[name] = f"line {node.lineno} uses {ast.unparse(node)}"
    check("processes", found)


def test_only_the_git_package_starts_git() -> None:
    found = {}
    for name, module in modules().items():
        if is_in(name, ["cml.git"]):
            continue
        for node in ast.walk(module.tree):
            first = node.elts[0] if isinstance(node, (ast.List, ast.Tuple)) and node.elts else None
            if isinstance(first, ast.Constant) and first.value == "git":
                found[name] = f"line {first.lineno} starts git"
    check("git", found)


def test_only_dvc_and_remotes_touch_a_dvc_repo() -> None:
    found = {}
    for name, module in modules().items():
        if is_in(name, ["cml.dvc", "cml.remotes"]):
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr == "repo":
                found[name] = f"line {node.lineno} uses {ast.unparse(node)}"
    check("repo", found)


def test_no_module_uses_private_names_of_another_package() -> None:
    """Neither by an import, nor as an attribute of a module or an object. DVC's private names are not meant."""
    owners: dict[str, set[str]] = defaultdict(set)
    for name, module in modules().items():
        for private in _private_members(module.tree):
            owners[private].add(package_of(name))
    found = {}
    for name, module in modules().items():
        ours = {target.rpartition(".")[2] for target in module.imported() if target in PATHS}
        for node in ast.walk(module.tree):
            used = []
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cml"):
                used = [alias.name for alias in node.names if _is_private(alias.name)]
            elif isinstance(node, ast.Attribute) and _is_private(node.attr):
                is_foreign = owners[node.attr] and package_of(name) not in owners[node.attr]
                is_of_module = isinstance(node.value, ast.Name) and node.value.id in ours
                used = [node.attr] if is_foreign or is_of_module else []
            if used:
                found[name] = f"line {node.lineno} uses {', '.join(used)}"  # type: ignore[attr-defined]
    check("private names", found)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _private_members(tree: ast.Module) -> Iterator[str]:
    """The private methods and attributes of a module's classes."""
    for owner in ast.walk(tree):
        for node in ast.walk(owner) if isinstance(owner, ast.ClassDef) else ():
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                names = [node.name]
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names = [node.attr]
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = [node.target.id]
            else:
                continue
            yield from filter(_is_private, names)


# How it is written


def test_modules_and_functions_are_short() -> None:
    found = {}
    for name, module in modules().items():
        if (lines := module.text.count("\n")) > MODULE_LINES:
            found[name] = f"{lines} lines, at most {MODULE_LINES}"
        for node in ast.walk(module.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    found[f"{name}.{node.name}"] = f"{lines} lines, at most {FUNCTION_LINES}"
    check("length", found)


def test_a_class_name_is_used_once() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for name, module in modules().items():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    found = {name: ", ".join(where) for name, where in places.items() if len(where) > 1}
    check("class names", found)


def test_data_is_frozen_and_keyword_only() -> None:
    found = {}
    for name, module in modules().items():
        for node in ast.walk(module.tree):
            for decorator in node.decorator_list if isinstance(node, ast.ClassDef) else ():
                text = ast.unparse(decorator)
                if "dataclass" in text and not ("frozen=True" in text and "kw_only=True" in text):
                    found[f"{name}.{node.name}"] = text  # type: ignore[attr-defined]
    check("dataclasses", found)


def test_imports_inside_functions_are_few_and_have_a_reason() -> None:
    """Import statements on lines that follow each other are one boundary, and share the comment above them."""
    boundaries = Counter[str]()
    bare, found = [], {}
    for name, module in modules().items():
        lines = module.text.splitlines()
        last, has_reason = 0, False
        for line in sorted({each.line for each in module.imports if each.when == "call"}):
            if line != last + 1:
                boundaries[name] += 1
                has_reason = lines[line - 2].strip().startswith("#")
            if not has_reason and "#" not in lines[line - 1]:
                bare.append(f"{name} line {line}")
            last = line
    if bare:
        found["reasons"] = f"a comment on the line or above it must say why: {', '.join(bare)}"
    if boundaries.total() > FUNCTION_IMPORTS:
        found["number"] = f"{boundaries.total()}, at most {FUNCTION_IMPORTS}: {boundaries.most_common()}"
    check("imports inside functions", found)


def test_comments_give_reasons() -> None:
    """Lines with nothing but a comment."""
    lines = [line.strip() for module in modules().values() for line in module.text.splitlines()]
    percent = 100 * sum(line.startswith("#") for line in lines) / len(lines)
    check("comments", {} if percent >= COMMENT_PERCENT else {"all": f"{percent:.1f} %, at least {COMMENT_PERCENT}"})


# What is imported when a command runs


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from cml.commands.parser import dispatch\n"
        "import os\n"
        "try:\n"
        "    dispatch(sys.argv[1:])\n"
        "except SystemExit:\n"
        "    pass\n"
        "print('\\n' + ' '.join(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert not [name for name in done.stdout.splitlines()[-1].split() if name in HEAVY or name.startswith("dvc")]


def test_a_skipped_run_imports_nothing_heavy(tmp_path: Path) -> None:
    git = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.invalid"}
    git |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.invalid"}
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **git}
    for command in (["git", "init", "-q"], ["git", "commit", "-q", "--allow-empty", "-m", "x [skip ci]"]):
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "from cml.cli import main; main()", "run"],
        cwd=tmp_path,
        env={**environment, "GITLAB_CI": "true", "CI_JOB_TOKEN": "job-token-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "cml.run.context" in imported
    assert not {name for name in imported if is_in(name, HEAVY) or name.startswith("dvc")}
    assert (tmp_path / "cml-report" / "cml.env").read_text().startswith("CML_SKIPPED=true\n")
