"""Aliyun OSS, against a stand-in that checks signatures."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.journey import config, project, refused, round_trip
from storage.oss import SECRET, ObjectStorage


def test_an_access_key(oss: ObjectStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"oss://{oss.bucket()}/dvc"))
    round_trip(world, oss.env, SECRET)


def test_a_bucket_named_by_its_variable(oss: ObjectStorage, tmp_path: Path) -> None:
    bucket = oss.bucket()
    world = project(tmp_path, config("oss:///dvc"))
    round_trip(world, {**oss.env, "OSS_BUCKET": bucket}, SECRET)
    assert any(key.startswith("dvc/files/md5/") for key in oss.buckets[bucket])


@pytest.mark.parametrize("name", ["OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"])
def test_a_wrong_key(oss: ObjectStorage, name: str, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"oss://{oss.bucket()}/dvc"))
    said = refused(world, {**oss.env, name: "LTAI5tWrongKey000000"}, "LTAI5tWrongKey000000")
    assert "refuses OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET" in said


def test_no_key(oss: ObjectStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"oss://{oss.bucket()}/dvc"))
    said = refused(world, {"OSS_ENDPOINT": oss.env["OSS_ENDPOINT"]})
    assert "set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET" in said


def test_no_endpoint(oss: ObjectStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"oss://{oss.bucket()}/dvc"))
    env = {name: value for name, value in oss.env.items() if name != "OSS_ENDPOINT"}
    assert "set OSS_ENDPOINT" in refused(world, env, SECRET)


def test_a_missing_bucket(oss: ObjectStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config("oss://no-such-bucket/dvc"))
    assert "The specified bucket does not exist; create it" in refused(world, oss.env)
