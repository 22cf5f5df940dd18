"""`dvc_pull: auto`: the bytes that are downloaded are none for an unchanged pipeline, else only inputs of changed stages."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.http_gate import HttpGate
from support.small_world import dvc_yaml
from support.world import World

from storage.journey import config, failed, run, start
from storage.s3 import REGION, S3
from storage.web import Web

SIZE = 40_000
PIPELINE: dict[str, dict[str, Any]] = {
    "split": {
        "cmd": "mkdir -p parts && tr a-f A-F < data.csv > parts/a.txt && cp in.txt parts/b.txt",
        "deps": ["data.csv", "in.txt"],
        "outs": ["parts"],
    },
    "count": {
        "cmd": "cat parts/*.txt more.txt > all.txt && echo '{\"n\": 1}' > count.json",
        "deps": ["parts", "more.txt"],
        "outs": ["all.txt"],
        "metrics": [{"count.json": {"cache": False}}],
    },
    "still": {"cmd": "cp in.txt still.txt", "deps": ["in.txt"], "outs": ["still.txt"]},
    "use": {"cmd": "cat imported.txt more.txt > used.txt", "deps": ["imported.txt", "more.txt"], "outs": ["used.txt"]},
}
FROZEN = {**PIPELINE, "still": {**PIPELINE["still"], "frozen": True}}


@dataclass(frozen=True, kw_only=True)
class Served:
    """A project whose results are pushed, with a gate in front of its remote that counts bytes."""

    world: World
    gate: HttpGate
    env: dict[str, str]

    def again(self, files: dict[str, str] | None = None) -> tuple[dict[str, int], dict[str, str]]:
        """Commits changes, and runs with `auto` in a place that has nothing; returns the bytes that were sent by the
        path of the object, and how each stage fared.
        """
        clone = self.changed(files)
        done = run(self.world, "--dvc-pull", "auto", cwd=clone, env=self.env)
        assert done.code == 0, done.err
        sent: dict[str, int] = {}
        for exchange in self.gate.exchanges:
            _, found, path = exchange.path.partition("/files/md5/")
            if exchange.sent and exchange.method == "GET" and (found or "/runs/" in exchange.path):
                sent[path.replace("/", "") or exchange.path] = sent.get(path, 0) + exchange.sent
        report = json.loads((clone / "cml-report" / "report.json").read_text())
        return sent, {stage["name"]: stage["status"] for stage in report["pipeline"]["stages"]}

    def changed(self, files: dict[str, str] | None = None) -> Path:
        """Commits changes; returns a fresh clone, and clears the gate's record."""
        if files:
            self.world.git("pull", "--quiet", "--ff-only", "origin", "main")
            self.world.commit("Changed", files)
        self.gate.forget()
        return self.world.clone(f"clone-{len(list(self.world.folder.iterdir()))}")

    def sizes(self, *names: str) -> dict[str, int]:
        """Returns object id -> size of each file of the project."""
        data = ((self.world.project / name).read_bytes() for name in names)
        return {hashlib.md5(each, usedforsecurity=False).hexdigest(): len(each) for each in data}

    def listing(self) -> dict[str, int]:
        """Returns object id -> size of the directory's `.dir` object."""
        (cached,) = (self.world.project / ".dvc" / "cache" / "files").rglob("*.dir")
        return {cached.parent.name + cached.name: cached.stat().st_size}


@pytest.fixture(params=["s3", "http"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    if request.param == "s3":
        s3: S3 = request.getfixturevalue("s3")
        with HttpGate(s3.url) as gate:
            env = {**s3.owner, "AWS_REGION": REGION, "AWS_ENDPOINT_URL": gate.url}
            yield _served(tmp_path, gate, config(f"s3://{s3.bucket()}/dvc"), env)
    else:
        nginx: Web = request.getfixturevalue("nginx")
        with HttpGate(nginx.urls["open"].removesuffix("/open")) as gate:
            yield _served(tmp_path, gate, config(f"{gate.url}/open/{tmp_path.name}", method="PUT"), {})


def test_downloads_are_retried_when_a_storage_fails(served: Served) -> None:
    clone = served.changed({"more.txt": "more and more\n"})
    served.gate.fail(503, times=3, when=lambda request: request.method == "GET" and "/files/md5/" in request.path)
    done = run(served.world, "--dvc-pull", "auto", cwd=clone, env=served.env)
    assert done.code == 0, done.err
    assert "2 ran" in done.err


def test_a_refusal_is_one_line_and_no_stage_runs(s3: S3, tmp_path: Path) -> None:
    env = {**s3.owner, "AWS_REGION": REGION, "AWS_ENDPOINT_URL": s3.url}
    with HttpGate(s3.url) as gate:
        served = _served(tmp_path, gate, config(f"s3://{s3.bucket()}/dvc"), env)
    clone = served.changed({"more.txt": "more and more\n"})
    wrong = {**env, "AWS_SECRET_ACCESS_KEY": "not-the-right-one"}
    said = failed(served.world, wrong, "not-the-right-one", cwd=clone, options=("--dvc-pull", "auto"))
    assert said.startswith("pull: the DVC remote storage (S3) refuses AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    report = json.loads((clone / "cml-report" / "report.json").read_text())
    assert not [stage for stage in report["pipeline"]["stages"] if stage["status"] in ("ran", "failed")]


def test_the_report_downloads_only_the_cached_metrics_that_it_shows(s3: S3, tmp_path: Path) -> None:
    cached = {**PIPELINE, "count": {**PIPELINE["count"], "metrics": ["count.json"]}}
    with HttpGate(s3.url) as gate:
        env = {**s3.owner, "AWS_REGION": REGION, "AWS_ENDPOINT_URL": gate.url}
        served = _served(tmp_path, gate, config(f"s3://{s3.bucket()}/dvc"), env, pipeline=cached)
        sent, how = served.again({"README.md": "words\n"})
        assert sent == served.sizes("count.json")
    assert set(how.values()) == {"up to date"}


def _served(
    place: Path,
    gate: HttpGate,
    settings: str,
    env: dict[str, str],
    *,
    pipeline: dict[str, dict[str, Any]] | None = None,
) -> Served:
    noise = random.Random(place.name)
    elsewhere = place / "elsewhere.txt"
    elsewhere.write_text(noise.randbytes(SIZE // 2).hex())
    world = start(
        place,
        settings,
        {
            "in.txt": noise.randbytes(SIZE // 2).hex(),
            "more.txt": "more\n",
            "dvc.yaml": dvc_yaml(**(pipeline or PIPELINE)),
            "data.csv": noise.randbytes(SIZE // 2).hex(),
            "unused.bin": noise.randbytes(SIZE // 2).hex(),
        },
        tracked=("data.csv", "unused.bin"),
    )
    world.dvc("import-url", "--quiet", str(elsewhere), "imported.txt")
    world.commit("An import")
    first = run(world, env=env)
    assert first.code == 0, first.err
    assert "4 ran" in first.err
    if pipeline is None:
        world.commit("One stage is frozen", {"dvc.yaml": dvc_yaml(**FROZEN)})
    return Served(world=world, gate=gate, env=env)


def files(sent: dict[str, int]) -> dict[str, int]:
    """Returns the downloads without `.dir` objects, which the push and the data section of the report read too."""
    return {oid: size for oid, size in sent.items() if not oid.endswith(".dir")}


def test_an_unchanged_pipeline_downloads_nothing(served: Served) -> None:
    sent, how = served.again({"README.md": "words\n"})
    assert sent == {}
    assert set(how.values()) == {"up to date", "frozen"}


def test_a_changed_stage_downloads_only_its_inputs(served: Served) -> None:
    sent, how = served.again({"more.txt": "more and more\n"})
    wanted = {**served.sizes("parts/a.txt", "parts/b.txt", "imported.txt"), **served.listing()}
    assert sent == wanted
    assert how == {"split": "up to date", "count": "ran", "still": "frozen", "use": "ran"}


def test_new_outputs_of_a_stage_are_not_downloaded_for_the_next_one(served: Served) -> None:
    sent, how = served.again({"in.txt": "another\n"})
    assert files(sent) == served.sizes("data.csv")
    assert how == {"split": "ran", "count": "ran", "still": "frozen", "use": "up to date"}


def test_a_stage_that_always_changes_downloads_only_its_inputs(served: Served) -> None:
    always = {"cmd": "cat data.csv > copy.txt", "deps": ["data.csv"], "outs": ["copy.txt"], "always_changed": True}
    served.again({"dvc.yaml": dvc_yaml(**FROZEN, always=always)})
    sent, how = served.again()
    assert files(sent) == served.sizes("data.csv")
    assert how["always"] == "ran"
    assert {how["split"], how["count"], how["use"]} == {"up to date"}
