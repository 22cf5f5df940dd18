"""The house stays as CONTRIBUTING draws it: who may import whom, and what a short command may cost."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
MODULES = {
    str(path.relative_to(TOP).with_suffix("")).replace("/", ".").removesuffix(".__init__"): path
    for path in (TOP / "cml").rglob("*.py")
}
HEAVY = (
    "dvc",
    "dvc_data",
    "dvc_objects",
    "github",
    "gitlab",
    "actions_toolkit",
    "babel",
    "jinja2",
    "pynvml",
    "vl_convert",
)
# Modules that decide: no I/O, and no DVC, git or forge.
PURE = (
    "cml.config.variables",
    "cml.config.settings",
    "cml.git.trailers",
    "cml.errors",
    "cml.process.masking",
    "cml.model.report",
    "cml.config.gates",
    "cml.config.number_format",
    "cml.report.markdown",
)
IO = (
    "subprocess",
    "socket",
    "shutil",
    "requests",
    "urllib.request",
    "cml.git.repository",
    "cml.dvc",
    "cml.forges",
)


def imports(path: Path, *, top_level_only: bool) -> set[str]:
    """Names of the modules that a file imports; those under TYPE_CHECKING cost nothing and do not count."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if top_level_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def below(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_heavy_packages_are_imported_where_they_are_used(module: str) -> None:
    assert not {name for name in imports(MODULES[module], top_level_only=True) if below(name, HEAVY)}


@pytest.mark.parametrize("module", PURE)
def test_modules_that_decide_do_no_io(module: str) -> None:
    assert not {name for name in imports(MODULES[module], top_level_only=False) if below(name, IO)}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("cml.forges.")])
def test_forges_never_import_each_other(module: str) -> None:
    forge = module.split("_", maxsplit=1)[0]
    shared = ("cml.forges.base", "cml.forges.retry")
    forges = tuple(
        name
        for name in MODULES
        if name.startswith("cml.forges.") and name.split("_")[0] != forge and name not in shared
    )
    assert not {name for name in imports(MODULES[module], top_level_only=False) if below(name, forges)}


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith(("cml.dvc", "cml.remotes"))])
def test_only_the_pipeline_touches_dvc(module: str) -> None:
    names = imports(MODULES[module], top_level_only=False)
    assert not {name for name in names if name.split(".")[0].startswith("dvc")}


@pytest.mark.parametrize("module", [name for name in MODULES if name != "cml.process.gpu"])
def test_only_one_module_speaks_nvml(module: str) -> None:
    assert not {name for name in imports(MODULES[module], top_level_only=False) if below(name, ("pynvml",))}


def test_data_is_frozen_and_keyword_only() -> None:
    """All but what a run fills as it goes."""
    loose = {"cml.dvc.logging", "cml.run.state"}
    found = {
        (module, ast.unparse(decorator))
        for module, file in MODULES.items()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
        for decorator in node.decorator_list
        if "dataclass" in ast.unparse(decorator)
    }
    assert {(module, text) for module, text in found if "frozen=True" not in text and module not in loose} == set()
    assert {(module, text) for module, text in found if "kw_only=True" not in text} == set()


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
    assert not set(done.stdout.splitlines()[-1].split()) & set(HEAVY)


def test_a_skipped_run_never_imports_dvc(tmp_path: Path) -> None:
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
    assert not {name for name in imported if below(name, HEAVY)}
    assert (tmp_path / "cml-report" / "cml.env").read_text().startswith("CML_SKIPPED=true\n")
