"""The two workflows that the project was designed for, run unchanged in the image."""

from __future__ import annotations

import pytest
from support.world import World

from container.conftest import Image, Runner, docker, give_to_runner, strangers

# The workflow for GitHub.
GITHUB_RUN = """\
# Install your project dependencies.
# An example for Python3:
apt-get install -y python3 python3-pip
pip3 install --upgrade pip
update-alternatives --install /usr/bin/python python $(which python3) 10
update-alternatives --install /usr/bin/pip pip $(which pip3) 10
test -f requirements.txt && pip3 install -r requirements.txt
# Run report:
dvc_cml_run
"""
# The job for GitLab, with a smaller package.
GITLAB_SCRIPT = ["pip install six wget", "dvc_cml_run"]
# How GitLab's docker executor finds a shell in any image; the script comes from stdin.
GITLAB_SHELL = """\
if [ -x /usr/local/bin/bash ]; then
  exec /usr/local/bin/bash
elif [ -x /usr/bin/bash ]; then
  exec /usr/bin/bash
elif [ -x /bin/bash ]; then
  exec /bin/bash
elif [ -x /bin/sh ]; then
  exec /bin/sh
else
  echo shell not found
  exit 1
fi
"""
NEEDS_SIX = "import six\n"


@pytest.fixture
def needing(runner: Runner) -> Runner:
    """A runner whose pipeline imports a package from the project's requirements."""
    train = (runner.world.project / "train.py").read_text()
    runner.world.commit("Six is needed", {"train.py": NEEDS_SIX + train, "requirements.txt": "six\n"})
    return runner


def test_the_github_workflow_runs_unchanged(needing: Runner) -> None:
    env = needing.forge.event("push", ref="main")
    needing.checkout(env)
    # `repo_token` and targets are under `env:`, in lower case; a name with `.dvc` is the stage of that name.
    done = needing.job_container(env, GITHUB_RUN, repo_token=needing.token, repro_targets="train.dvc")
    assert done.code == 0, done.err[-3000:]
    assert "train ran" in done.err
    assert needing.world.git("log", "-1", "--format=%an", "main", cwd=needing.world.origin) == "github-actions[bot]"
    assert needing.outputs(env)["changed"] == "true"
    needing.world.assert_complete("origin/main")
    assert needing.strangers(env) == []


def test_the_gitlab_job_runs(needing: Runner) -> None:
    world = needing.world
    clone = world.clone("builds")
    world.git("checkout", "--quiet", "--detach", cwd=clone)
    mounts = [text for place in (clone, world.storage, world.origin) for text in ("--volume", f"{place}:{place}")]
    variables = {"CI": "true", "GITLAB_CI": "true", "CI_JOB_TOKEN": "a-job-token", "repro_targets": "train"}
    variables |= {"push": "false", "CI_COMMIT_SHA": world.git("rev-parse", "HEAD")}
    given = [text for name, value in variables.items() for text in ("--env", f"{name}={value}")]
    script = "\n".join(["set -eo pipefail", f"cd {clone}", *GITLAB_SCRIPT, ""])
    box = Image(needing.image)
    done = box.run("sh", "-c", GITLAB_SHELL, options=[*mounts, *given], stdin=script, timeout=900)
    assert done.code == 0, done.err[-3000:]
    assert "train ran" in done.err
    assert (clone / "cml-report" / "report.md").is_file()


def test_by_hand_on_a_laptop(image: str, trained_world: World) -> None:
    """`docker run -v "$PWD:/work" -w /work IMAGE cml report` leaves no file that the user cannot remove."""
    place = trained_world.folder
    give_to_runner(place)
    options = ["--volume", f"{place}:/w", "--workdir", "/w/project"]
    done = docker("run", "--rm", *options, image, "cml", "report")
    assert done.code == 0, done.err
    assert done.out.startswith("## DVC Report")
    assert strangers(trained_world.project) == []
