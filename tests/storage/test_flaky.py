"""Storages that fail now and then, and uploads that were interrupted."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from support.http_gate import HttpGate
from support.small_world import dvc_yaml
from support.world import World

from storage.journey import COUNT, DATA, SPLIT, checksums, config, failed, project, run
from storage.s3 import REGION, S3, client
from storage.web import Web

MORE = {**COUNT, "cmd": "cat parts/*.txt more.txt > all.txt", "deps": ["parts", "more.txt"]}


def puts(request: web.Request) -> bool:
    return request.method == "PUT" and "/files/md5/" in request.path


def gets(request: web.Request) -> bool:
    return request.method == "GET" and "/files/md5/" in request.path


@pytest.fixture
def http(nginx: Web) -> Iterator[HttpGate]:
    """A gate in front of nginx."""
    with HttpGate(nginx.urls["open"].removesuffix("/open")) as gate:
        yield gate


@pytest.fixture
def bucket(s3: S3) -> Iterator[tuple[HttpGate, str, dict[str, str]]]:
    """A gate in front of S3, a new bucket, and the environment of a run."""
    with HttpGate(s3.url) as gate:
        yield gate, s3.bucket(), {**s3.owner, "AWS_REGION": REGION, "AWS_ENDPOINT_URL": gate.url}


def over_http(place: Path, gate: HttpGate) -> World:
    return project(place, config(f"{gate.url}/open/{place.name}", method="PUT"))


def pulls_all(world: World, env: dict[str, str] | None = None) -> str:
    """Runs in a fresh clone, which must download everything; returns the log."""
    clone = world.clone("second")
    done = run(world, cwd=clone, env=env)
    assert done.code == 0, done.err
    assert checksums(clone) == checksums(world.project)
    assert len(checksums(clone)) == len(DATA)
    assert "nothing changed" in done.err
    return done.err


@pytest.mark.parametrize("how", [500, 503, 429, "reset"])
def test_a_push_is_retried(http: HttpGate, how: int | str, tmp_path: Path) -> None:
    world = over_http(tmp_path, http)
    http.fail(how, times=2, when=puts)
    done = run(world)
    assert done.code == 0, done.err
    assert "retry in 1 s" in done.err
    pulls_all(world)


# DVC's own HTTP client tries five times.
@pytest.mark.parametrize(("how", "times"), [(503, 12), ("reset", 12), ("cut", 3)])
def test_a_pull_is_retried_and_its_files_are_complete(
    http: HttpGate, how: int | str, times: int, tmp_path: Path
) -> None:
    world = over_http(tmp_path, http)
    assert run(world).code == 0
    http.fail(how, times=times, when=gets)
    pulls_all(world)


def test_half_of_an_object_is_never_taken_for_the_object(http: HttpGate, tmp_path: Path) -> None:
    world = over_http(tmp_path, http)
    assert run(world).code == 0
    # With two objects, DVC itself would keep the truncated second one under the complete one's hash.
    http.fail("cut", when=lambda request: gets(request) and not request.path.endswith(".dir"))
    clone = world.clone("second")
    done = run(world, "--dvc-pull", "parts", cwd=clone)
    assert done.code == 1, done.err
    assert "pull: the DVC remote storage (HTTP) does not answer or has an error" in done.err
    for cached in (clone / ".dvc" / "cache" / "files").rglob("*"):
        if cached.is_file():
            digest = hashlib.md5(cached.read_bytes(), usedforsecurity=False).hexdigest()
            assert digest == cached.parent.name + cached.name.removesuffix(".dir")


@pytest.mark.parametrize("how", [500, 503, "reset"])
def test_s3_is_retried(bucket: tuple[HttpGate, str, dict[str, str]], how: int | str, tmp_path: Path) -> None:
    gate, name, env = bucket
    world = project(tmp_path, config(f"s3://{name}/dvc"))
    gate.fail(how, times=3, when=puts)
    done = run(world, env=env)
    assert done.code == 0, done.err
    gate.fail(how, times=3, when=gets)
    pulls_all(world, env)


def test_a_permanent_failure_ends_soon_with_one_line(http: HttpGate, tmp_path: Path) -> None:
    world = over_http(tmp_path, http)
    http.fail(503, when=puts)
    since = time.monotonic()
    said = failed(world, {})
    assert said.startswith("push: the DVC remote storage (HTTP) does not answer or has an error: 503, message=")
    assert time.monotonic() - since < 45
    assert world.git("rev-parse", "HEAD") == world.tip(), "no commit names what is not there"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_not_retried(http: HttpGate, status: int, tmp_path: Path) -> None:
    world = over_http(tmp_path, http)
    http.fail(status, when=puts)
    done = run(world)
    assert done.code == 1
    assert "retry in" not in done.err
    assert sum(exchange.method == "PUT" for exchange in http.exchanges) <= len(DATA) + 1


def test_reproduce_is_never_retried(http: HttpGate, tmp_path: Path) -> None:
    world = over_http(tmp_path, http)
    count = {"cmd": "echo run >> count.log; exit 1", "deps": ["data.csv"], "outs": ["never"]}
    world.commit("Fails", {"dvc.yaml": dvc_yaml(count=count)})
    assert run(world).code == 1
    assert (world.project / "count.log").read_text() == "run\n"


# -- incomplete uploads --


def remove_files_of_directory(world: World, remove: Callable[[str], None]) -> None:
    """Removes the objects of the directory `parts`, but not its `.dir` object, which lists them."""
    for name in ("parts/a.txt", "parts/b.txt"):
        md5 = hashlib.md5((world.project / name).read_bytes(), usedforsecurity=False).hexdigest()
        remove(f"files/md5/{md5[:2]}/{md5[2:]}")


def is_completed(world: World, env: dict[str, str]) -> None:
    world.commit("Another commit", {"more.txt": "more\n", "dvc.yaml": dvc_yaml(split=SPLIT, count=MORE)})
    done = run(world, env=env)
    assert done.code == 0, done.err
    assert "including 2 that the DVC remote had lost" in done.err, done.err
    clone = world.clone("second")
    assert run(world, cwd=clone, env=env).code == 0
    assert checksums(clone) == checksums(world.project)


def test_a_half_uploaded_directory_on_s3_is_completed(s3: S3, tmp_path: Path) -> None:
    name, env = s3.bucket(), {**s3.owner, "AWS_REGION": REGION, "AWS_ENDPOINT_URL": s3.url}
    world = project(tmp_path, config(f"s3://{name}/dvc"))
    assert run(world, env=env).code == 0
    storage = client("s3", s3.url, s3.owner)
    remove_files_of_directory(world, lambda key: storage.delete_object(Bucket=name, Key=f"dvc/{key}"))
    is_completed(world, env)


def test_a_half_uploaded_directory_over_http_is_completed(nginx: Web, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{nginx.urls['open']}/{tmp_path.name}", method="PUT"))
    assert run(world).code == 0
    remove_files_of_directory(world, lambda key: (nginx.folder / "open" / tmp_path.name / key).unlink())
    is_completed(world, {})
