"""S3 and compatible services, against moto, which checks signatures, session tokens and permissions."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.journey import config, failed, project, refused, round_trip
from storage.s3 import JOB_TOKEN, REGION, S3

PLACE = {"AWS_REGION": REGION}


def test_an_access_key(s3: S3, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"s3://{s3.bucket()}/dvc", endpointurl=s3.url))
    round_trip(world, {**s3.owner, **PLACE}, s3.owner["AWS_SECRET_ACCESS_KEY"])


def test_a_session_token(s3: S3, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"s3://{s3.bucket()}/dvc", endpointurl=s3.url))
    session = s3.session()
    round_trip(world, {**session, **PLACE}, session["AWS_SECRET_ACCESS_KEY"], session["AWS_SESSION_TOKEN"])


def test_the_endpoint_can_come_from_the_environment(s3: S3, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"s3://{s3.bucket()}/dvc"))
    round_trip(world, {**s3.owner, **PLACE, "AWS_ENDPOINT_URL": s3.url})


@pytest.mark.parametrize("given", ["text", "file"])
def test_a_web_identity(s3: S3, given: str, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"s3://{s3.bucket()}/dvc", endpointurl=s3.url))
    (tmp_path / "token").write_text(JOB_TOKEN)
    token = JOB_TOKEN if given == "text" else str(tmp_path / "token")
    env = {"AWS_ROLE_ARN": s3.role, "AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ENDPOINT_URL_STS": s3.sts}
    round_trip(world, {**env, **PLACE}, JOB_TOKEN)


def test_a_web_identity_that_is_refused(s3: S3, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"s3://{s3.bucket()}/dvc", endpointurl=s3.url))
    other = JOB_TOKEN.replace("yZXBv", "yZXBw")
    env = {"AWS_ROLE_ARN": s3.role, "AWS_WEB_IDENTITY_TOKEN_FILE": other, "AWS_ENDPOINT_URL_STS": s3.sts}
    said = refused(world, {**env, **PLACE}, other)
    assert "AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE" in said


def test_an_incomplete_web_identity(s3: S3, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"s3://{s3.bucket()}/dvc", endpointurl=s3.url))
    said = refused(world, {"AWS_ROLE_ARN": s3.role, **PLACE, "AWS_EC2_METADATA_DISABLED": "true"})
    assert "set AWS_WEB_IDENTITY_TOKEN_FILE" in said


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_wrong_key(s3: S3, name: str, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"s3://{s3.bucket()}/dvc", endpointurl=s3.url))
    said = refused(world, {**s3.owner, **PLACE, name: "AKIA0123456789WRONG"}, "AKIA0123456789WRONG")
    assert "refuses AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in said


def test_a_wrong_session_token(s3: S3, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"s3://{s3.bucket()}/dvc", endpointurl=s3.url))
    said = refused(world, {**s3.session(), **PLACE, "AWS_SESSION_TOKEN": "not-of-this-session"}, "not-of-this-session")
    assert "AWS_SESSION_TOKEN" in said


def test_no_key(s3: S3, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"s3://{s3.bucket()}/dvc", endpointurl=s3.url))
    said = refused(world, {**PLACE, "AWS_EC2_METADATA_DISABLED": "true"})
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in said


def test_a_key_that_may_only_read(s3: S3, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"s3://{s3.bucket()}/dvc", endpointurl=s3.url))
    said = failed(world, {**s3.reader, **PLACE})
    assert said.startswith("push: the DVC remote storage (S3) refuses AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")


def test_a_missing_bucket(s3: S3, tmp_path: Path) -> None:
    world = project(tmp_path, config("s3://no-such-bucket-of-ours/dvc", endpointurl=s3.url))
    said = refused(world, {**s3.owner, **PLACE})
    assert "there is no no-such-bucket-of-ours; create it" in said
