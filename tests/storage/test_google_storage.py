"""Google Storage, against gcp-storage-emulator under Google's host names."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from storage.google import EMAIL, JOB_TOKEN, POOL, GoogleStorage, Tokens
from storage.journey import config, project, refused, round_trip


def workload_identity(place: Path, *, impersonates: bool = False) -> str:
    """Returns the JSON that google-github-actions/auth and gcloud write for a workload identity, with a token file."""
    (place / "job-token").write_text(JOB_TOKEN)
    account = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"
    return json.dumps(
        {
            "type": "external_account",
            "audience": POOL,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "credential_source": {"file": str(place / "job-token")},
            **({"service_account_impersonation_url": account} if impersonates else {}),
        }
    )


def test_the_json_itself(google_storage: GoogleStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gs://{google_storage.bucket()}/dvc"))
    account = google_storage.tokens.service_account()
    env = {**google_storage.env, "GOOGLE_APPLICATION_CREDENTIALS": json.dumps(account)}
    round_trip(world, env, account["private_key"].splitlines()[1], account["private_key_id"])


def test_a_path(google_storage: GoogleStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gs://{google_storage.bucket()}/dvc"))
    account = google_storage.tokens.service_account()
    file = tmp_path / "key.json"
    file.write_text(json.dumps(account))
    env = {**google_storage.env, "GOOGLE_APPLICATION_CREDENTIALS": str(file)}
    round_trip(world, env, account["private_key"].splitlines()[1])
    assert json.loads(file.read_text()) == account


def test_the_json_in_base64(google_storage: GoogleStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gs://{google_storage.bucket()}/dvc"))
    account = google_storage.tokens.service_account()
    given = base64.b64encode(json.dumps(account).encode()).decode()
    env = {**google_storage.env, "GOOGLE_APPLICATION_CREDENTIALS": given}
    round_trip(world, env, account["private_key"].splitlines()[1], given)


def test_a_workload_identity(google_storage: GoogleStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gs://{google_storage.bucket()}/dvc"))
    env = {**google_storage.env, "GOOGLE_APPLICATION_CREDENTIALS": workload_identity(tmp_path)}
    round_trip(world, env, JOB_TOKEN)


def test_a_workload_identity_that_acts_for_a_service_account(google_storage: GoogleStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gs://{google_storage.bucket()}/dvc"))
    env = {**google_storage.env, "GOOGLE_APPLICATION_CREDENTIALS": workload_identity(tmp_path, impersonates=True)}
    round_trip(world, env, JOB_TOKEN)


def test_an_access_token(google_storage: GoogleStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gs://{google_storage.bucket()}/dvc"))
    token = google_storage.tokens.make("storage")
    round_trip(world, {**google_storage.env, "CLOUDSDK_AUTH_ACCESS_TOKEN": token}, token)


def test_the_key_of_another_account(google_storage: GoogleStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gs://{google_storage.bucket()}/dvc"))
    account = google_storage.tokens.service_account() | {"private_key": Tokens().service_account()["private_key"]}
    env = {**google_storage.env, "GOOGLE_APPLICATION_CREDENTIALS": json.dumps(account)}
    assert "refuses GOOGLE_APPLICATION_CREDENTIALS" in refused(world, env, account["private_key"].splitlines()[1])


@pytest.mark.parametrize("given", ["/nowhere/key.json", '{"type": "service_account", "private_'], ids=["path", "cut"])
def test_invalid_json(google_storage: GoogleStorage, given: str, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gs://{google_storage.bucket()}/dvc"))
    said = refused(world, {**google_storage.env, "GOOGLE_APPLICATION_CREDENTIALS": given})
    assert (
        "GOOGLE_APPLICATION_CREDENTIALS is neither the path of a file" in said
        or "is not valid JSON; was it truncated?" in said
    )


def test_the_token_of_another_job(google_storage: GoogleStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gs://{google_storage.bucket()}/dvc"))
    given = workload_identity(tmp_path)
    (tmp_path / "job-token").write_text("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJvdGhlciJ9.c2ln")
    said = refused(world, {**google_storage.env, "GOOGLE_APPLICATION_CREDENTIALS": given})
    assert "GOOGLE_APPLICATION_CREDENTIALS" in said


def test_an_expired_access_token(google_storage: GoogleStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gs://{google_storage.bucket()}/dvc"))
    said = refused(
        world, {**google_storage.env, "CLOUDSDK_AUTH_ACCESS_TOKEN": "ya29.ran-out-long-ago"}, "ya29.ran-out-long-ago"
    )
    assert "refuses CLOUDSDK_AUTH_ACCESS_TOKEN" in said


def test_no_credentials(google_storage: GoogleStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gs://{google_storage.bucket()}/dvc"))
    nowhere = {"NO_GCE_CHECK": "true"}  # skips the search for the account of the machine, which takes 15 s
    assert "set GOOGLE_APPLICATION_CREDENTIALS" in refused(world, {**google_storage.env, **nowhere})


def test_a_missing_bucket(google_storage: GoogleStorage, tmp_path: Path) -> None:
    world = project(tmp_path, config("gs://no-such-bucket/dvc"))
    account = json.dumps(google_storage.tokens.service_account())
    said = refused(world, {**google_storage.env, "GOOGLE_APPLICATION_CREDENTIALS": account})
    assert "no-such-bucket; create it" in said
