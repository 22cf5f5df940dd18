"""`make demo`: runs CML on an example project, on one machine, without an account or a server.

Copies examples/quickstart, with a bare git repository as origin and a folder as DVC remote. Makes a few tagged
experiments on main with `cml run`, then changes parameters on a branch and runs `cml run` once more, as a CI job does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PLACE = TOP / ".demo"
PROJECT, ORIGIN, STORAGE, ENV = (PLACE / name for name in ("project", "origin.git", "storage", "env"))
QUICKSTART = TOP / "examples" / "quickstart"
CML = Path(sys.executable).with_name("cml")

HISTORY: tuple[tuple[str, dict[str, float]], ...] = (
    ("A first network", {"epochs": 40}),
    ("A bolder learning rate", {"learning_rate": 0.1}),
    ("More images, a careful rate", {"train_images": 900, "learning_rate": 0.005}),
    ("A wider network", {"hidden_units": 32}),
)
LAST: tuple[str, dict[str, float]] = ("Learn faster, and longer", {"learning_rate": 0.02, "epochs": 50})


def main() -> None:
    started = time.monotonic()
    make_environment()
    make_project()
    for subject, params in HISTORY:
        commit(subject, params)
        print(f"demo: experiment: {subject} ... ", end="", flush=True)
        cml_run(is_shown=False)
        metrics = json.loads((PROJECT / "metrics.json").read_text())
        print(f"accuracy {metrics['accuracy']}, tagged {git('describe', '--tags', '--exact-match')}", flush=True)
    git("switch", "--quiet", "--create", "learn-faster")
    commit(*LAST)
    say(f"change on a branch: {LAST[0]}\n\n$ cml run --push true --tag-prefix dvc_\n")
    cml_run(is_shown=True)
    tag = git("describe", "--tags", "--exact-match", "HEAD")
    report = PROJECT.relative_to(TOP) / "cml-report"
    print(
        f"""
Only the stages that the change affects were run, with their own Python packages.
Data and model are on the DVC remote ({STORAGE.relative_to(TOP)}); CML checked that each file is there.
One commit with dvc.lock and metrics is on the branch learn-faster of origin, with the tag {tag}.
Read {report / "report.md"} or open {report / "report.html"} in a browser.
Done in {time.monotonic() - started:.0f} s. Next: change {PROJECT.relative_to(TOP)}/params.yaml, and then
    (cd {PROJECT.relative_to(TOP)} && PATH="$PWD/../env/bin:$PATH" ../../.venv/bin/cml run --tag-prefix dvc_)
"""
    )


def make_environment() -> None:
    """Installs the packages of the pipeline apart from those of CML, as in CI."""
    wanted = (QUICKSTART / "requirements.txt").read_text()
    ready = ENV / "ready"
    if ready.exists() and ready.read_text() == wanted:
        return
    say("installing the packages of the pipeline (scikit-learn, matplotlib) in .demo/env")
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", str(ENV)], check=True)
    install = ["pip", "install", "--quiet", "--compile-bytecode", "--require-hashes"]
    requirements = str(QUICKSTART / "requirements.txt")
    subprocess.run([uv, *install, "--python", str(ENV / "bin" / "python"), "-r", requirements], check=True)
    ready.write_text(wanted)


def make_project() -> None:
    say("copying examples/quickstart, with a bare git origin and a folder as DVC remote")
    for folder in (PROJECT, ORIGIN, STORAGE):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(QUICKSTART, PROJECT)
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(ORIGIN)], check=True)
    git("init", "--quiet", "--initial-branch=main")
    git("remote", "add", "origin", str(ORIGIN))
    dvc = str(CML.with_name("dvc"))
    subprocess.run([dvc, "remote", "add", "--quiet", "--default", "storage", str(STORAGE)], cwd=PROJECT, check=True)
    git("add", ".")
    git("commit", "--quiet", "--message", "A pipeline that learns to read digits")
    git("push", "--quiet", "--set-upstream", "origin", "main")


def commit(subject: str, params: dict[str, float]) -> None:
    file = PROJECT / "params.yaml"
    text = file.read_text()
    for name, value in params.items():
        text = re.sub(rf"\b{name}:.*", f"{name}: {value}", text)
    file.write_text(text)
    git("commit", "--quiet", "--all", "--allow-empty", "--message", subject)
    git("push", "--quiet", "--set-upstream", "origin", "HEAD")


def cml_run(*, is_shown: bool) -> None:
    command = [str(CML), "run", "--push", "true", "--tag-prefix", "dvc_"]
    output = None if is_shown else subprocess.PIPE
    done = subprocess.run(command, cwd=PROJECT, env=environment(), stdout=output, stderr=output, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout or ''}{done.stderr or ''}\nerror: cml run ended with {done.returncode}")


def git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=PROJECT, env=environment(), capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def environment() -> dict[str, str]:
    """The environment of a laptop: the Python of the pipeline first, an author for commits, no CI variables."""
    who = {f"GIT_{role}_{what}": text for role in ("AUTHOR", "COMMITTER") for what, text in AUTHOR.items()}
    kept = {name: value for name, value in os.environ.items() if name not in ("GITHUB_ACTIONS", "GITLAB_CI", "CI")}
    return {**kept, **who, "PATH": f"{ENV / 'bin'}{os.pathsep}{os.environ['PATH']}"}


AUTHOR = {"NAME": "CML demo", "EMAIL": "demo@example.invalid"}


def say(text: str) -> None:
    print(f"demo: {text}", flush=True)


if __name__ == "__main__":
    main()
