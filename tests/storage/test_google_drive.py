"""Google Drive, against a stand-in under Google's host names."""

from __future__ import annotations

import json
from pathlib import Path

from storage.drive import Drive
from storage.google import CLIENT_SECRET, REFRESH, Tokens
from storage.journey import config, project, refused, round_trip


def test_a_service_account(drive: Drive, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gdrive://{drive.folder()}"))
    account = drive.tokens.service_account()
    env = {**drive.cloud.env, "GDRIVE_CREDENTIALS_DATA": json.dumps(account)}
    round_trip(world, env, account["private_key"].splitlines()[1])


def test_a_user(drive: Drive, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gdrive://{drive.folder()}"))
    env = {**drive.cloud.env, "GDRIVE_CREDENTIALS_DATA": json.dumps(drive.user())}
    round_trip(world, env, REFRESH, CLIENT_SECRET)


def test_the_key_of_another_account(drive: Drive, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gdrive://{drive.folder()}"))
    account = drive.tokens.service_account() | {"private_key": Tokens().service_account()["private_key"]}
    env = {**drive.cloud.env, "GDRIVE_CREDENTIALS_DATA": json.dumps(account)}
    assert "refuses GDRIVE_CREDENTIALS_DATA" in refused(world, env, account["private_key"].splitlines()[1])


def test_a_user_who_revoked_access(drive: Drive, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gdrive://{drive.folder()}"))
    user = drive.user() | {"refresh_token": "1//0gWithdrawnRefreshToken"}
    env = {**drive.cloud.env, "GDRIVE_CREDENTIALS_DATA": json.dumps(user)}
    assert "refuses GDRIVE_CREDENTIALS_DATA" in refused(world, env, "1//0gWithdrawnRefreshToken", CLIENT_SECRET)


def test_no_credentials_start_no_dialog(drive: Drive, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gdrive://{drive.folder()}"))
    assert "set GDRIVE_CREDENTIALS_DATA" in refused(world, drive.cloud.env)


def test_a_missing_folder(drive: Drive, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"gdrive://{drive.folder()}/not/made"))
    env = {**drive.cloud.env, "GDRIVE_CREDENTIALS_DATA": json.dumps(drive.user())}
    assert "create it" in refused(world, env)
