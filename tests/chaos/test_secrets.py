"""Secrets do not leak: a job prints twelve secrets in all encodings wherever it can; then everything is searched."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.jobs import FORGES, close_jobs, open_jobs
from support.small_world import dvc_yaml
from support.world import World
from test_masking import ENCODINGS

from chaos.figures import count, trial
from chaos.project import copy_project, make_project, temp_folder

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEBYaDHqa0AP/session==token",
    "AZURE_STORAGE_CONNECTION_STRING": "AccountName=cml;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq==",
    "OSS_ACCESS_KEY_SECRET": "oss-secret-Q7w2e9r4t6y8",
    "DVC_SSH_PASSWORD": 'ssh pass & "word" 9\'1',
    "WANDB_API_KEY": "0f9c1e7ab3d25846ffee11223344556677889900",
    "MLFLOW_TRACKING_PASSWORD": "mlflow-päßword-4711",
    "SLACK_WEBHOOK_URL": "https://hooks.example.invalid/services/T000/B000/XXXXsecretXXXX",
    "MY_TOKEN": "my-token-<with>&signs-42",
    "DATABASE_PASSWORD": "p@ss:w0rd/with?url#parts",
    "KAGGLE_KEY": "a1b2c3d4e5f60718293a4b5c6d7e8f90",
}
STARTED_SECONDS = 5.0
CHOSEN = (
    "plain",
    "url",
    "form",
    "base64",
    "base64 in a url",
    "checkout's header",
    "hex",
    "HEX",
    "JSON",
    "HTML",
    "shell",
)


def encodings() -> dict[str, Any]:
    known = {name: encode for name, encode in ENCODINGS.items() if name in CHOSEN}
    assert len(known) >= 10
    return {"as it is": lambda secret: secret, **known}


@contextmanager
def watch_processes(token: str, found: list[str], *, mark: str) -> Iterator[None]:
    """Watches the processes of a job, which have the mark in their environment, for the token.

    Appends to `found` what shows the token: a command line, or an environment of another program than git.
    """
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.03):
            for process in psutil.process_iter():
                try:
                    words, held = process.cmdline(), process.environ()
                    if held.get("CML_CHAOS_MARK") != mark:
                        continue
                    if any(token in word for word in words):
                        found.append(f"a command line: {words}")
                    is_cml = any(word.endswith("/cml") for word in words[1:2])
                    names = [name for name, value in held.items() if token in value]
                    # Git gets the token in its environment. CML gets it from the runner and overwrites it at start.
                    is_new = is_cml and time.time() - process.create_time() < STARTED_SECONDS
                    if names and words[:1] != ["git"] and not is_new:
                        found.append(f"an environment: {names} of {words}")
                except psutil.Error:
                    continue

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_project(tmp_path_factory.mktemp("secrets"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


@pytest.mark.parametrize("ends", ["well", "with a failing stage", "with a failing setup"])
@pytest.mark.parametrize("name", FORGES)
def test_no_secret_leaks(base: World, tmp_path: Path, name: str, ends: str) -> None:
    world = copy_project(base, tmp_path)
    ci = open_jobs(name, world, tmp_path / "forge")
    secrets = {**SECRETS, "the git token": ci.token}
    forms = {encode(secret) for secret in secrets.values() for encode in encodings().values()}
    output = world.folder / "secrets.txt"  # outside the searched folders: a stage may write its own secrets
    output.write_text("\n".join(sorted(forms)) + "\n")
    says = f"cat {output}; cat {output} >&2"
    command = f"{says}; cat in.txt > out.txt" + ("; exit 3" if ends == "with a failing stage" else "")
    setup = says + ("; false" if ends == "with a failing setup" else "")
    world.git("switch", "--quiet", "--create", "try")
    pipeline = dvc_yaml(train={"cmd": command, "deps": ["in.txt"], "outs": ["out.txt"]})
    world.commit("Prints", {"dvc.yaml": pipeline})
    found: list[str] = []
    mark = uuid.uuid4().hex
    try:
        number = ci.open_pull("try")
        job = ci.pull(number)
        workspace = ci.start(job)
        with trial("secrets", f"{name}, ends {ends}"), watch_processes(ci.token, found, mark=mark):
            marked = {**SECRETS, "CML_CHAOS_MARK": mark, "TMPDIR": str(temp_folder(world)), "setup": setup}
            extra = {
                **job,
                **marked,
                **({"INPUT_REPO_TOKEN": ci.token} if name == "github" else {"GITLAB_TOKEN": ci.token}),
            }
            extra = {key: value for key, value in extra.items() if key not in ("HOME", "PATH")}
            done = world.try_run("cml", "run", cwd=workspace, env=extra)
            assert done.code == (0 if ends == "well" else 1), done.err[-2000:]
            assert done.err.count("***") > len(forms)
            spoken = {
                "the log": (done.out + done.err).encode(),
                "messages": repr(ci.reports(number)).encode(),
                "requests": repr([one.json for one in requests_of(ci)]).encode(),
                "addresses": repr([one.path for one in requests_of(ci)]).encode(),
                "origin": world.git("log", "--all", "--patch", "--format=%B%an%ae", cwd=world.origin).encode(),
            }
            processes_left: dict[str, bytes] = {}
            for folder in (
                workspace / "cml-report",
                workspace / ".dvc",
                world.folder / "home",
                temp_folder(world),
                world.storage,
            ):
                processes_left |= files_of(folder)
            own = {
                path: data for path, data in files_of(workspace / ".git").items() if not path.endswith("/.git/config")
            }
            outputs = {
                path: Path(path).read_bytes()
                for path in map(job.get, ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"))
                if path and Path(path).exists()
            }
            texts = {**spoken, **processes_left, **own, **{str(path): data for path, data in outputs.items()}}

            leaks = [(where, form) for where, data in texts.items() for form in forms if form.encode() in data]
            count("secrets", files_of=len(texts), forms=len(forms), found=len(leaks) + len(found))
            assert not leaks, leaks[:5]
        assert not found, found[:5]
    finally:
        close_jobs(ci)


def requests_of(ci: Any) -> list[Any]:
    return list(ci.forge.requests if ci.name == "github" else ci.forge.exchanges)


def test_the_search_finds_planted_secrets(tmp_path: Path) -> None:
    """Guards the search that the other tests here rely on."""
    secret = SECRETS["MY_TOKEN"]
    (tmp_path / "planted").write_text(json.dumps({"x": encodings()["HEX"](secret)}))
    forms = {encode(secret) for encode in encodings().values()}
    assert [form for form in forms for data in files_of(tmp_path).values() if form.encode() in data]
    found: list[str] = []
    with watch_processes("planted-token", found, mark="planted"):
        subprocess.run(["sh", "-c", "sleep 0.5; : planted-token"], check=True)
        assert not found
        marked = {**os.environ, "CML_CHAOS_MARK": "planted"}
        subprocess.run(["sh", "-c", "sleep 1; : planted-token"], check=True, env=marked)
    assert found
