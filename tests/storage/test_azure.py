"""Azure, against azurite under the host name of a real account."""

from __future__ import annotations

from pathlib import Path

from storage.azure import ACCOUNT, CLIENT, CLIENT_SECRET, CONNECTION, JOB_TOKEN, KEY, TENANT, Azure
from storage.journey import config, project, refused, round_trip

IDENTITY = {"AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_CLIENT_ID": CLIENT, "AZURE_TENANT_ID": TENANT}


def test_a_connection_string(azure: Azure, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"azure://{azure.container()}/dvc"))
    round_trip(world, {**azure.env, "AZURE_STORAGE_CONNECTION_STRING": CONNECTION}, KEY)


def test_a_container_named_by_its_variable(azure: Azure, tmp_path: Path) -> None:
    world = project(tmp_path, config("azure://"))
    named = {"AZURE_STORAGE_CONTAINER_NAME": azure.container(), "AZURE_STORAGE_CONNECTION_STRING": CONNECTION}
    round_trip(world, {**azure.env, **named}, KEY)


def test_an_account_key(azure: Azure, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"azure://{azure.container()}/dvc"))
    round_trip(world, {**azure.env, "AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_KEY": KEY}, KEY)


def test_a_sas_token(azure: Azure, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"azure://{azure.container()}/dvc"))
    sas = azure.sas()
    signature = sas.partition("sig=")[2].partition("&")[0]
    round_trip(world, {**azure.env, "AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_SAS_TOKEN": sas}, sas, signature)


def test_a_service_principal(azure: Azure, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"azure://{azure.container()}/dvc"))
    round_trip(world, {**azure.env, **IDENTITY, "AZURE_CLIENT_SECRET": CLIENT_SECRET}, CLIENT_SECRET)


def test_a_workload_identity(azure: Azure, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"azure://{azure.container()}/dvc"))
    round_trip(world, {**azure.env, **IDENTITY, "AZURE_FEDERATED_TOKEN_FILE": JOB_TOKEN}, JOB_TOKEN)


def test_a_wrong_account_key(azure: Azure, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"azure://{azure.container()}/dvc"))
    wrong = CONNECTION.replace(KEY, "d3JvbmcgYnV0IG9mIHRoZSByaWdodCBsZW5ndGg=")
    said = refused(
        world, {**azure.env, "AZURE_STORAGE_CONNECTION_STRING": wrong}, "d3JvbmcgYnV0IG9mIHRoZSByaWdodCBsZW5ndGg="
    )
    assert "refuses AZURE_STORAGE_CONNECTION_STRING" in said


def test_an_invalid_connection_string(azure: Azure, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"azure://{azure.container()}/dvc"))
    said = refused(
        world, {**azure.env, "AZURE_STORAGE_CONNECTION_STRING": "only-a-key-was-pasted=="}, "only-a-key-was-pasted=="
    )
    assert "AZURE_STORAGE_CONNECTION_STRING" in said


def test_a_modified_sas_token(azure: Azure, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"azure://{azure.container()}/dvc"))
    sas = azure.sas().replace("sig=", "sig=AAAA")
    said = refused(world, {**azure.env, "AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_SAS_TOKEN": sas}, sas)
    assert "refuses AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_SAS_TOKEN" in said


def test_a_wrong_secret_of_a_service_principal(azure: Azure, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"azure://{azure.container()}/dvc"))
    said = refused(
        world, {**azure.env, **IDENTITY, "AZURE_CLIENT_SECRET": "not-the-clients-secret"}, "not-the-clients-secret"
    )
    assert "AZURE_CLIENT_SECRET" in said


def test_no_credentials(azure: Azure, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"azure://{azure.container()}/dvc"))
    assert "set AZURE_STORAGE_CONNECTION_STRING" in refused(world, azure.env)


def test_a_missing_container(azure: Azure, tmp_path: Path) -> None:
    world = project(tmp_path, config("azure://no-such-container/dvc"))
    said = refused(world, {**azure.env, "AZURE_STORAGE_CONNECTION_STRING": CONNECTION})
    assert "no-such-container; create it" in said
