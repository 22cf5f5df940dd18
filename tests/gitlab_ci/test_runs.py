"""Complete pipelines: gitlab-ci-local runs .gitlab-ci.yml with the real `cml`, against the stand-in GitLab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from standins.gitlab import Forge
from support.world import World

from gitlab_ci.conftest import GitLab, GitLabRunner, PipelineResult, templates
from scripts.paths import TOP

MINIMAL = """\
include:
  - local: gitlab/cml.yml
    inputs:
      tag_prefix: dvc_
"""


@pytest.fixture
def gitlab(world: World, tmp_path: Path, gitlab_runner: GitLabRunner) -> Iterator[GitLab]:
    """The standard project on GitLab, whose pipeline never ran, with the template and a maintainer's token."""
    world.dvc("remote", "modify", "--quiet", "storage", "url", str(world.storage))
    world.commit("A pipeline of GitLab's", {**templates(), ".gitlab-ci.yml": MINIMAL})
    with Forge(tmp_path / "gitlab") as forge:
        forge.create_project("ada/digits", bare=world.origin)
        yield GitLab(world, forge, gitlab_runner, {"GITLAB_TOKEN": forge.token("project", role="maintainer")})
        assert forge.unknown == []


def outputs(ran: PipelineResult, job: str = "cml", folder: str = "cml-report") -> dict[str, str]:
    """Returns the variables that `artifacts:reports:dotenv` takes."""
    text = (ran.artifacts(job) / ".gitlab-ci-reports" / "dotenv" / folder / "cml.env").read_text()
    return dict(line.split("=", 1) for line in text.splitlines())


def test_a_push_is_saved_tagged_and_released_and_its_results_are_not_run_again(gitlab: GitLab) -> None:
    head = gitlab.world.tip()
    ran = gitlab.pipeline()
    assert ran.code == 0, ran.log
    tip = gitlab.world.tip()
    assert gitlab.world.git("rev-parse", f"{tip}~1", cwd=gitlab.world.origin) == head
    assert gitlab.world.tags() == [f"dvc_{tip[:7]}"]
    release = gitlab.forge.releases()[f"dvc_{tip[:7]}"]
    assert "accuracy" in (release.description or "")
    assert {status.state for status in gitlab.forge.statuses(tip)} == {"success"}
    assert "warning" not in ran.job_log("cml")
    assert outputs(ran)["CML_CHANGED"] == "true"
    assert outputs(ran)["CML_SHA"] == tip
    assert (ran.artifacts("cml") / "cml-report" / "report.html").is_file()
    assert "accuracy" in (ran.artifacts("cml") / "cml-report" / "metrics.txt").read_text()
    again = gitlab.pipeline()
    assert again.code == 0, again.log
    assert outputs(again)["CML_SKIPPED"] == "true"
    assert gitlab.world.tip() == tip
    gitlab.world.assert_complete("origin/main")


def test_a_merge_request_gets_one_note_and_its_push_does_not_train_again(gitlab: GitLab) -> None:
    assert gitlab.pipeline().code == 0
    head = gitlab.commit({"params.yaml": "train:\n  rate: 0.1\n"}, branch="try")
    number = gitlab.forge.open_merge_request("try").iid
    assert gitlab.jobs("push", ref="try") == set()
    for _ in range(2):
        ran = gitlab.pipeline("merge_request_event", merge_request=number)
        assert ran.code == 0, ran.log
        (note,) = gitlab.forge.notes(number)
        assert "accuracy" in note.body
        assert "warning" not in ran.job_log("cml")
    tip = gitlab.world.tip("try")
    assert gitlab.world.git("rev-parse", f"{tip}~1", cwd=gitlab.world.origin) == head
    assert gitlab.world.tip("main") != tip


def test_the_job_token_pushes_if_the_project_allows_it(gitlab: GitLab) -> None:
    gitlab.variables.clear()
    before = gitlab.world.tip()
    refused = gitlab.pipeline()
    assert refused.code != 0
    assert "Job token permissions" in refused.job_log("cml")
    assert "Running stage" not in refused.job_log("cml")
    assert gitlab.world.tip() == before
    gitlab.forge.state.projects["ada/digits"].job_token_may_push = True
    ran = gitlab.pipeline()
    assert ran.code == 0, ran.log
    assert list(gitlab.forge.releases()) == gitlab.world.tags() == [f"dvc_{gitlab.world.tip()[:7]}"]
    assert "the job token cannot write" in ran.job_log("cml")


def test_a_job_without_the_template_works(gitlab: GitLab) -> None:
    text = (TOP / "examples" / "gitlab" / "container.yml").read_text()
    gitlab.commit({".gitlab-ci.yml": text, "requirements.txt": ""})
    ran = gitlab.pipeline(job="dvc")
    assert ran.code == 0, ran.log
    assert list(gitlab.forge.releases()) == gitlab.world.tags() == [f"dvc_{gitlab.world.tip()[:7]}"]
    assert (ran.artifacts("dvc") / "cml-report" / "report.md").is_file()


def test_a_changed_model_is_deployed_once(gitlab: GitLab) -> None:
    """examples/gitlab/deploy.yml, with the template of this repository and the model of this project."""
    text = (TOP / "examples" / "gitlab" / "deploy.yml").read_text()
    text = text.replace("models/model.bin", "model.bin").replace("accuracy >= 0.9", "accuracy >= 0.7")
    text = text.replace("setup: pip install -r requirements.txt", "setup: test -f deploy.sh")
    shipped = gitlab.world.folder / "shipped"
    script = f'#!/bin/sh\ncat "$1" >{shipped}; echo " $2" >>{shipped}\n'
    gitlab.world.write({"deploy.sh": script})
    (gitlab.world.project / "deploy.sh").chmod(0o755)
    gitlab.commit({".gitlab-ci.yml": with_our_template(text)})
    ran = gitlab.pipeline()
    assert ran.code == 0, ran.log
    assert shipped.read_text() == f"{'0.2' * 20} model_{gitlab.world.tip()[:7]}\n"
    shipped.unlink()
    again = gitlab.pipeline()
    assert again.code == 0, again.log
    assert "nothing new" in again.job_log("deploy")
    gitlab.commit({"params.yaml": "train:\n  rate: 0.4\n"})
    worse = gitlab.pipeline()
    assert worse.code != 0
    assert "accuracy >= 0.7 failed" in worse.job_log("cml")
    assert outputs(worse)["CML_VERDICT"] == "failed", "the artifacts of a failed job are kept"
    assert not (worse.folder / "output" / "deploy.log").exists()
    assert not shipped.exists()


def test_two_projects_in_one_repository(gitlab: GitLab) -> None:
    """examples/gitlab/projects.yml, with the template of this repository."""
    text = with_our_template((TOP / "examples" / "gitlab" / "projects.yml").read_text())
    project = gitlab.world.project
    files = {name: (project / name).read_text() for name in ("prepare.py", "train.py", "dvc.yaml", "params.yaml")}
    copies = {
        f"projects/{name}/{file}": text
        for name in ("vision", "speech")
        for file, text in {**files, "requirements.txt": "", "raw.csv": f"{name}\n"}.items()
    }
    gitlab.commit({".gitlab-ci.yml": text, **copies})
    ran = gitlab.pipeline(job="vision")
    assert ran.code == 0, ran.log
    for name in ("vision", "speech"):
        assert "\nwarning:" not in ran.job_log(name)
        assert outputs(ran, name, f"projects/{name}/cml-report")["CML_CHANGED"] == "true"
        page = ran.artifacts(name) / "projects" / name / "cml-report" / "report.md"
        assert page.read_text().startswith(f"## {name.capitalize()} model")
        gitlab.world.git("cat-file", "-e", f"main:projects/{name}/dvc.lock", cwd=gitlab.world.origin)


def with_our_template(text: str) -> str:
    remote = "remote: https://raw.githubusercontent.com/org/cml/v1/gitlab/cml.yml"
    assert remote in text
    return text.replace(remote, "local: gitlab/cml.yml")
