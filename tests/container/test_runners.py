"""examples/runners/compose.yml: each service is built from stand-ins for GitHub's and GitLab's images and started twice."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cml import __version__
from container.conftest import docker, fresh_name
from scripts.paths import TOP

SERVICES: dict[str, Any] = yaml.safe_load((TOP / "examples" / "runners" / "compose.yml").read_text())["services"]
JOB = 'echo job; env | grep -c TOKEN || true; cml --version; python --version; test "$NVIDIA_VISIBLE_DEVICES" = all\n'
# The relevant behaviour of each agent: it registers, remembers that, and runs jobs.
AGENTS = {
    "ghcr.io/actions/actions-runner:latest": {
        # The real one first checks for ICU, and ends without it.
        "home/runner/config.sh": '#!/bin/sh -e\nldconfig -NXv 2>/dev/null | grep -q libicu\necho "registers $*"; touch .runner\n',
        "home/runner/run.sh": f"#!/bin/sh -e\n{JOB}",
    },
    "gitlab/gitlab-runner:latest": {
        "usr/bin/gitlab-runner": "#!/bin/sh -e\n"
        'case $1 in register) echo "registers $*"; mkdir -p /etc/gitlab-runner; touch /etc/gitlab-runner/config.toml ;;\n'
        f"run)\n{JOB};; esac\n",
    },
}
GIVEN = {
    "github": {"GITHUB_URL": "https://github.example/a/b", "GITHUB_RUNNER_TOKEN": "once"},
    "gitlab": {"GITLAB_URL": "https://gitlab.example", "GITLAB_RUNNER_TOKEN": "glrt-1"},
}
REGISTERS = {
    "github": "registers --unattended --replace --url https://github.example/a/b --token once --name {name} --labels gpu",
    "gitlab": "registers register --non-interactive --executor shell --url https://gitlab.example --token glrt-1",
}


def build(context: Path, tag: str) -> None:
    done = subprocess.run(
        ["docker", "build", "--quiet", "--tag", tag, str(context)],
        capture_output=True,
        text=True,
        env={"DOCKER_BUILDKIT": "0", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"},
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def agents(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Images with the names of the file: those of the agents, and the tested image as CML's."""
    for name, files in AGENTS.items():
        context = tmp_path_factory.mktemp("agent")
        for path, text in files.items():
            (context / path).parent.mkdir(parents=True, exist_ok=True)
            (context / path).write_text(text)
            (context / path).chmod(0o755)
        top = next(iter(files)).partition("/")[0]
        (context / "Dockerfile").write_text(f"FROM scratch\nCOPY {top} /{top}\n")
        build(context, name)
    docker("tag", image, "ghcr.io/org/cml:1-gpu")
    yield
    docker("image", "rm", "--force", "ghcr.io/org/cml:1-gpu", *AGENTS)


@pytest.mark.usefixtures("agents")
@pytest.mark.parametrize("kind", sorted(SERVICES))
def test_a_runner_registers_once_and_runs_jobs_in_our_image(kind: str, tmp_path: Path) -> None:
    service, name = SERVICES[kind], fresh_name()
    assert service["gpus"] == "all"
    is_debian = docker("run", "--rm", "ghcr.io/org/cml:1-gpu", "grep", "bookworm", "/etc/os-release").code == 0
    inline = service["build"]["dockerfile_inline"]
    (tmp_path / "Dockerfile").write_text(inline.replace("libicu74", "libicu72") if is_debian else inline)
    build(tmp_path, name)
    # Compose reads `$$` as `$`, and `${NAME:-...}` from its own environment.
    command = [part.replace("$$", "$") for part in service["command"]]
    env = {
        key: GIVEN[kind].get(key, "" if "$" in str(value) else str(value))
        for key, value in service["environment"].items()
    }
    assert GIVEN[kind].keys() <= env.keys()
    given = [text for key, value in env.items() for text in ("--env", f"{key}={value}")]
    (volume,) = service["volumes"]
    given += ["--hostname", "here", "--init", "--volume", f"{name}-{volume}"]
    try:
        first = docker("run", "--rm", *given, name, *command)
        assert first.code == 0, first.err
        lines = first.out.splitlines()
        assert lines[0] == REGISTERS[kind].format(name="here")
        assert lines[1:4] == ["job", "0", f"cml {__version__}"], "and no job's environment has the token"
        again = docker("run", "--rm", *given, name, *command)  # as after `docker compose down` and `up`
        assert again.code == 0, again.err
        assert again.out.splitlines()[0] == "job"
    finally:
        docker("volume", "rm", "--force", f"{name}-{volume.partition(':')[0]}")
        docker("image", "rm", "--force", name)
