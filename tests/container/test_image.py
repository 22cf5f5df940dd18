"""What the image contains and what not, and that the Python of the project is separate from CML's."""

from __future__ import annotations

import json
import re
import time

import pytest

from cml import __version__
from container.conftest import Image, docker, fresh_name
from scripts.paths import TOP

MOST_BYTES = 900_000_000  # without CUDA, which is 1 to 3 GB
# The layers that are ours, recognised by the commands that Docker's classic builder and BuildKit record.
LAYERS = {
    r"image\.sh system": 140e6,
    r"COPY (dir:\w+ in )?(/opt/cml )?/opt/cml\s": 520e6,
    r"image\.sh finish": 40e6,
}
OURS = {"apt-get", "cml", "dvc", "dvc_cml_run", "uv", "uvx"}
SLOWEST_START = 0.5
REMOTES = ("azure", "gdrive", "gs", "hdfs", "http", "https", "oss", "s3", "ssh", "webdav", "webdavs", "webhdfs")


@pytest.mark.parametrize("file", ["Dockerfile", "Dockerfile.gpu"])
def test_the_dockerfile_needs_no_buildkit(file: str) -> None:
    text = (TOP / file).read_text()
    assert not re.search(r"^#\s*(syntax|escape|check)\s*=|^RUN\s+--|<<", text, re.MULTILINE)


def test_the_image_is_small_enough(box: Image) -> None:
    size = int(docker("image", "inspect", "--format", "{{.Size}}", box.name).out)
    print(f"image: {size / 1e6:.0f} MB")
    assert box.cuda or size <= MOST_BYTES
    layers = docker("history", "--no-trunc", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", box.name).out
    for step, most in LAYERS.items():
        (size,) = (int(line.split()[0]) for line in layers.splitlines() if re.search(step, f"{line} "))
        print(f"{step}: {size / 1e6:.0f} MB")
        assert 0 < size <= most, step


def test_layers_are_recognised_for_both_builders() -> None:
    output = (
        "1 |4 CUDA_VERSION=1 /bin/sh -c sh /opt/cml/image.sh system",
        "1 RUN |4 CUDA_VERSION=1 /bin/sh -c sh /opt/cml/image.sh system # buildkit",
        "1 /bin/sh -c #(nop) COPY dir:ec77 in /opt/cml ",
        "1 COPY /opt/cml /opt/cml # buildkit",
        "1 /bin/sh -c sh /opt/cml/image.sh finish",
        "1 RUN /bin/sh -c sh /opt/cml/image.sh finish # buildkit",
        "0 /bin/sh -c #(nop) COPY file:81d7 in /opt/cml/image.sh",
        "0 COPY requirements/image.sh /opt/cml/image.sh # buildkit",
    )
    assert [[bool(re.search(step, f"{line} ")) for step in LAYERS].count(True) for line in output] == [1] * 6 + [0] * 2


def test_cml_starts_quickly(box: Image) -> None:
    """Measured without the start of the container, in CPU seconds, which other tests do not change."""
    script = """
import resource, subprocess, time
since = time.monotonic()
subprocess.run(["cml", "--version"], check=True, stdout=subprocess.DEVNULL)
took, used = time.monotonic() - since, resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{used.ru_utime + used.ru_stime:.3f} {took:.3f}")
"""
    used, took = map(float, box.python(script).split())
    print(f"cml --version: {used} s of CPU, {took} s by the clock")
    assert used < SLOWEST_START


def test_path_has_only_our_commands(box: Image) -> None:
    linked = box.sh("find /usr/local/bin -lname '/opt/cml/*' -printf '%f\\n'").split()
    assert set(linked) == {"cml", "dvc", "dvc_cml_run"}
    assert set(box.sh("ls /usr/local/bin").split()) >= OURS
    # Programs of DVC's packages (celery, gto, pygmentize, ...) and build tools are not on PATH.
    own = set(box.sh("ls /opt/cml/bin").split()) - set(linked)
    assert {"celery", "gto", "dulwich"} <= own
    own = {name for name in own if not re.match("python|activate|deactivate", name)}
    for name in sorted(own | {"gcc", "make", "node", "nvcc", "dpkg-dev", "debootstrap"}):
        assert not box.sh(f"command -v {name} || true"), name


def test_labels_describe_the_image(box: Image) -> None:
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", box.name).out)
    assert labels["org.opencontainers.image.title"] == ("CML for GPUs" if box.cuda else "CML")
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.description"]


def test_each_runner_can_start_it(box: Image) -> None:
    config = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", box.name).out)
    assert config["Cmd"] == ["cml", "run"], "GitHub starts the action without a command"
    assert not config.get("Entrypoint"), "GitLab hands a shell to the image's entry point"
    assert config.get("User", "") in ("", "root"), "GitHub's mounts can be written by root alone"
    assert "LANG=C.UTF-8" in config["Env"]


def test_programs_have_the_locked_versions(box: Image) -> None:
    assert box.sh("cml --version") == f"cml {__version__}"
    lock = box.lock.read_text()
    pinned = re.search(r"^dvc==(\S+)", lock, re.MULTILINE)
    assert pinned
    assert box.sh("dvc --version") == pinned[1]
    assert box.sh("command -v dvc_cml_run") == "/usr/local/bin/dvc_cml_run"
    box.sh("git --version; git lfs version; ssh -V; uv --version; uvx --version; python --version; pip --version")


def test_the_python_of_the_project_does_not_see_cml(box: Image) -> None:
    for package in ("cml", "dvc", "jinja2"):
        done = box.run("python", "-c", f"import {package}")
        assert f"No module named '{package}'" in done.err
    assert json.loads(box.sh("pip list --format json")) == json.loads(
        box.sh("$(command -v python) -m pip list --format json")
    )
    assert "dvc" not in box.sh("pip list")


def test_pip_of_the_project_is_not_externally_managed(box: Image) -> None:
    box.sh("! test -e $(python -c 'import sysconfig; print(sysconfig.get_path(\"stdlib\"))')/EXTERNALLY-MANAGED")
    before = box.sh("find /opt/cml -type f | sort | sha256sum")
    for command in ("pip install --quiet six", "pip3 install --quiet six", "uv pip install --system --quiet six"):
        script = f"{command} && python -c 'import six; print(six.__name__)' && find /opt/cml -type f | sort | sha256sum"
        assert box.sh(script).splitlines() == ["six", before], "and /opt/cml stays as it is"


def test_python_variables_of_a_job_do_not_affect_cml(box: Image) -> None:
    script = "mkdir /lib1 && echo 'raise SystemExit(7)' | tee /lib1/yaml.py /lib1/json.py /lib1/argparse.py && PYTHONPATH=/lib1 cml --version"
    assert box.sh(script).endswith(f"cml {__version__}")


def test_each_module_has_bytecode(box: Image) -> None:
    script = """
import pathlib
top = pathlib.Path("/opt/cml/lib/python3.12/site-packages")
sources = list(top.rglob("*.py"))
assert len(sources) > 3000
print([str(path) for path in sources if not (path.parent / "__pycache__" / f"{path.stem}.cpython-312.pyc").exists()])
"""
    assert box.python(script) == "[]"


def test_the_report_templates_are_compiled(box: Image) -> None:
    found = box.sh("ls /opt/cml/lib/python3.12/site-packages/cml/report/__pycache__ | grep -c 'jinja$'")
    assert int(found) >= 3, "Markdown, the page, and what they share"


def test_a_start_writes_nothing(box: Image) -> None:
    done = box.run("cml", "run", "--help", options=["--read-only"])
    assert done.code == 0
    name = fresh_name()
    assert docker("run", "--name", name, box.name, "cml", "doctor", "--json").code in {0, 1, 2}
    changed = docker("diff", name).out.splitlines()
    docker("rm", "--force", name)
    assert not [line for line in changed if line.endswith(".pyc")]


def test_a_user_other_than_root_can_use_it(box: Image) -> None:
    script = "mkdir /tmp/p && cd /tmp/p && git init -q . && dvc init -q && cml doctor --json"
    done = box.run("sh", "-euc", script, options=["--user", "1001:1001"])
    assert done.code == 1, "git knows no author there"
    assert "ok" in {finding["status"] for finding in json.loads(done.out)}, done.out


def test_each_remote_of_dvc_is_installed(box: Image) -> None:
    output = box.sh("cd /tmp && dvc version")
    for remote in REMOTES:
        assert re.search(rf"^\s{remote} \(", output, re.MULTILINE), f"{remote}\n{output}"


def test_removed_files_are_not_needed(box: Image) -> None:
    """Fails if requirements/image.sh removes too much, also after a change of the lock."""
    drive = """
import httplib2
from googleapiclient.discovery import build
print(build("drive", "v2", http=httplib2.Http(), cache_discovery=False).files().list().uri)
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
pem = key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
from oauth2client import crypt
print(len(crypt.Signer.from_string(pem).sign(b"a service account signs in")))
import pydrive2.auth, pydrive2.fs
"""
    assert box.python(drive).split() == ["https://www.googleapis.com/drive/v2/files?alt=json", "256"]
    s3 = """
import asyncio
from aiobotocore.session import get_session

async def main():
    for name in ("s3", "sts", "sso", "sso-oidc", "signin"):
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
        async with get_session().create_client(name, region_name="eu-central-1", **keys) as client:
            print(client.meta.service_model.service_name)

asyncio.run(main())
"""
    assert box.python(s3).split() == ["s3", "sts", "sso", "sso-oidc", "signin"]
    hdfs = """
from fsspec.implementations.arrow import HadoopFileSystem
try:
    HadoopFileSystem("nowhere", 1)
except OSError as error:
    print(str(error).splitlines()[0])
"""
    assert box.python(hdfs) == "Unable to load libjvm", "Arrow works, and looks for the user's Java and Hadoop"
    assert box.python("import crcmod._crcfunext as fast; print(fast.__name__)") == "crcmod._crcfunext"
    other = (
        "import adlfs, asyncssh, gcsfs, git, gitlab, github, ossfs, pygit2, sshfs, webdav4.fsspec, vl_convert, babel"
    )
    box.python(other + "; from babel import Locale; Locale.parse('pt_BR').decimal_formats")


def test_apt_installs_without_an_update_first(box: Image) -> None:
    assert "jq-1" in box.sh("apt-get install -y -qq --no-install-recommends jq >/dev/null 2>&1; jq --version")


@pytest.mark.parametrize("signal", ["TERM", "INT"])
def test_a_cancelled_run_ends_in_time(box: Image, signal: str) -> None:
    """GitHub sends INT, TERM 7.5 s later, KILL another 2.5 s later; `cml` is process 1 and gets them itself."""
    name = fresh_name()
    stages = json.dumps({"stages": {"slow": {"cmd": "echo begun && sleep 600"}}})
    files = f"git init -q . && dvc init -q && printf %s '{stages}' >dvc.yaml"
    script = f"{files} && git add . && git -c user.name=a -c user.email=a@b commit -qm a && exec cml run --dvc-pull -"
    started = docker("run", "--detach", "--name", name, "--workdir", "/w", box.name, "sh", "-euc", script)
    assert started.code == 0, started.err
    try:
        deadline = time.monotonic() + 60
        while "begun" not in (log := docker("logs", name)).out + log.err:
            assert time.monotonic() < deadline, log.out + log.err
            time.sleep(0.2)
        since = time.monotonic()
        docker("kill", "--signal", signal, name)
        code = docker("wait", name, timeout=60).out.strip()
        took = time.monotonic() - since
        output = docker("logs", name)
    finally:
        docker("rm", "--force", name)
    assert took < 7
    assert code == "1"
    assert f"cancelled by SIG{signal}" in output.err


def test_a_run_without_arguments_explains_what_it_needs(box: Image) -> None:
    done = box.run()
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1
