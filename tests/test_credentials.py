"""Credentials: from variables to private files and to DVC's configuration, and nothing left at the end."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
import types
from pathlib import Path

import pytest
from dvc.config import Config

from cml.errors import Cancelled, WorkFailed
from cml.process.masking import Masks
from cml.remotes.credential_check import check_credentials
from cml.remotes.credentials import FOLDER_PREFIX, provide_credentials, remove_leftovers
from cml.remotes.kinds import CREDENTIAL_VARIABLES, STORAGE_KINDS, holds_secret, kind_of

PEM_BODY = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU\nAAAAEbm9uZQAAAAAAAAAB"
PEM = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{PEM_BODY}\n-----END OPENSSH PRIVATE KEY-----"
ACCOUNT = json.dumps({"type": "service_account", "private_key": PEM, "client_email": "robot@ours"})
USER = json.dumps({"access_token": "ya29.token", "refresh_token": "1//refresh"})
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyZXBvIn0.c2lnbmF0dXJl"
KNOWN_HOSTS = "[data.example]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"

URLS = {
    "S3": "s3://bucket/path",
    "Azure": "azure://container/path",
    "Aliyun OSS": "oss://bucket/path",
    "Google Storage": "gs://bucket/path",
    "Google Drive": "gdrive://folder/path",
    "SSH": "ssh://data.example:2222/path",
    "HTTP": "https://data.example/path",
    "WebDAV": "webdavs://data.example/path",
    "HDFS": "hdfs://data.example:8020/path",
    "WebHDFS": "webhdfs://data.example:9870/path",
    "local": "/mnt/share",
}


def configured(environment: dict[str, str], url: str, temporary: Path, **options: object) -> dict[str, str]:
    """The settings for a remote at `url`, after DVC's own schema has accepted them."""
    with provide_credentials(environment, temporary) as credentials:
        remotes = {"storage": {"url": url, **options}}
        written = credentials.configure(remotes)["remote"].get("storage", {})
        Config.validate({"core": {}, "remote": {"storage": {**remotes["storage"], **written}}})
        return written


# -- which credentials are found and which are missing --


def test_every_storage_kind_has_a_url_and_every_url_its_kind() -> None:
    assert {name: kind.name for name, url in URLS.items() if (kind := kind_of(url))} == {name: name for name in URLS}
    assert {kind.name for kind in STORAGE_KINDS} == set(URLS)
    assert kind_of("remote://other/path") is None


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("S3", ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
        ("Azure", ("AZURE_STORAGE_CONNECTION_STRING",)),
        ("Aliyun OSS", ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_ENDPOINT")),
        ("Google Storage", ("GOOGLE_APPLICATION_CREDENTIALS",)),
        ("Google Drive", ("GDRIVE_CREDENTIALS_DATA",)),
        ("SSH", ("DVC_SSH_PRIVATE_KEY",)),
        ("HTTP", ()),
        ("WebDAV", ()),
        ("HDFS", ("HADOOP_HOME",)),
        ("WebHDFS", ()),
        ("local", ()),
    ],
)
def test_an_empty_environment_misses_the_variables_of_the_first_auth_method(
    kind: str, missing: tuple[str, ...]
) -> None:
    check = check_credentials(URLS[kind], dict.fromkeys(CREDENTIAL_VARIABLES, ""))
    assert (check.kind, check.found, check.missing) == (kind, (), missing)
    assert all(name in check.advice for name in missing)
    assert "\n" not in check.advice


@pytest.mark.parametrize("kind", STORAGE_KINDS, ids=lambda kind: kind.name)
def test_each_auth_method_is_recognized_by_its_variables(kind: object) -> None:
    for method in (known := next(k for k in STORAGE_KINDS if k is kind)).auth_methods:
        check = check_credentials(URLS[known.name], {variable.name: "x" for variable in method.required})
        assert check.missing == ()
        assert check.found == tuple(variable.name for variable in method.required)
        assert check.auth_method in {method.name, "profile"}


@pytest.mark.parametrize(
    ("url", "environment", "missing"),
    [
        ("s3://b", ["AWS_ACCESS_KEY_ID", "AWS_REGION"], ("AWS_SECRET_ACCESS_KEY",)),
        ("s3://b", ["AWS_ROLE_ARN"], ("AWS_WEB_IDENTITY_TOKEN_FILE",)),
        ("azure://c", ["AZURE_STORAGE_ACCOUNT", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"], ("AZURE_CLIENT_SECRET",)),
        ("azure://", ["AZURE_STORAGE_CONNECTION_STRING"], ("AZURE_STORAGE_CONTAINER_NAME",)),
        ("oss:///p", ["OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_ENDPOINT"], ("OSS_BUCKET",)),
        ("https://h", ["DVC_HTTP_PASSWORD"], ("DVC_HTTP_USER",)),
        ("webdav://h", ["DVC_WEBDAV_USER"], ("DVC_WEBDAV_PASSWORD",)),
    ],
)
def test_an_incomplete_auth_method_misses_its_other_variables(
    url: str, environment: list[str], missing: tuple[str, ...]
) -> None:
    assert check_credentials(url, dict.fromkeys(environment, "x")).missing == missing


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://b", {"access_key_id": "a", "secret_access_key": "b"}),
        ("s3://b", {"profile": "ours"}),
        ("s3://b", {"allow_anonymous_login": True}),
        ("gs://b", {"credentialpath": "/key.json"}),
        ("gdrive://f", {"gdrive_user_credentials_file": "/user.json"}),
        ("webhdfs://h", {"kerberos": "true"}),
    ],
)
def test_options_in_dvc_configuration_are_not_missing(url: str, options: dict[str, object]) -> None:
    assert check_credentials(url, {}, options).missing == ()


def test_an_ssh_remote_without_known_hosts_gets_advice_with_ssh_keyscan() -> None:
    environment = {"DVC_SSH_PRIVATE_KEY": PEM}
    assert "ssh-keyscan -p 2222 data.example" in check_credentials(URLS["SSH"], environment).advice
    assert check_credentials(URLS["SSH"], {**environment, "DVC_SSH_KNOWN_HOSTS": KNOWN_HOSTS}).advice == ""


@pytest.mark.parametrize("url", ["", "s3://", "ssh://host:port/", "https://[", "nowhere://x", "remote://other/p"])
def test_invalid_urls_have_no_credentials_and_raise_nothing(url: str) -> None:
    assert check_credentials(url, {}).found == ()


# -- files --


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("GOOGLE_APPLICATION_CREDENTIALS", ACCOUNT),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", JWT),
        ("DVC_SSH_PRIVATE_KEY", PEM),
        ("DVC_SSH_KNOWN_HOSTS", KNOWN_HOSTS),
    ],
)
def test_the_text_of_a_file_becomes_a_private_file_and_the_variable_its_path(
    name: str, text: str, tmp_path: Path
) -> None:
    environment = {name: text}
    with provide_credentials(environment, tmp_path / "temporary"):
        path = Path(environment[name])
        assert path.read_text().strip() == text
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert environment == {name: text}
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_path_remains_a_path(tmp_path: Path) -> None:
    key = tmp_path / "my key.json"
    key.write_text(ACCOUNT)
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(key), "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/absent token"}
    with provide_credentials(environment, tmp_path / "temporary") as credentials:
        assert environment["GOOGLE_APPLICATION_CREDENTIALS"] == str(key)
        assert environment["AWS_WEB_IDENTITY_TOKEN_FILE"] == "/var/run/absent token"
        assert credentials.secrets == (ACCOUNT,)
    assert key.read_text() == ACCOUNT


@pytest.mark.parametrize(
    "given",
    [
        base64.b64encode(PEM.encode()).decode(),
        base64.encodebytes(PEM.encode()).decode(),
        PEM.replace("\n", "\\n"),
        PEM.replace("\n", "\r\n") + "\r\n\r\n",
    ],
    ids=["base64", "base64 in lines", "one line", "Windows"],
)
def test_a_key_in_any_usual_form_is_written_as_ssh_expects_it(given: str, tmp_path: Path) -> None:
    environment = {"DVC_SSH_PRIVATE_KEY": given}
    with provide_credentials(environment, tmp_path):
        assert Path(environment["DVC_SSH_PRIVATE_KEY"]).read_bytes() == (PEM + "\n").encode()


def test_the_variable_of_google_drive_becomes_the_text_of_a_path_or_base64(tmp_path: Path) -> None:
    (tmp_path / "user.json").write_text(USER)
    for given in (str(tmp_path / "user.json"), base64.b64encode(USER.encode()).decode(), USER):
        environment = {"GDRIVE_CREDENTIALS_DATA": given}
        with provide_credentials(environment, tmp_path / "temporary") as credentials:
            assert environment["GDRIVE_CREDENTIALS_DATA"] == USER
            assert environment["GDRIVE_NON_INTERACTIVE"] == "1"
            assert credentials.configure({"storage": {"url": URLS["Google Drive"]}}) == {"remote": {}}
        assert environment == {"GDRIVE_CREDENTIALS_DATA": given}


def test_empty_variables_are_unset(tmp_path: Path) -> None:
    environment = {"AWS_PROFILE": "", "AWS_SESSION_TOKEN": "", "PATH": ""}
    with provide_credentials(environment, tmp_path):
        assert environment == {"PATH": "", "GDRIVE_NON_INTERACTIVE": "1"}
    assert environment == {"AWS_PROFILE": "", "AWS_SESSION_TOKEN": "", "PATH": ""}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, Cancelled])
def test_everything_is_undone_after_any_error(error: type[BaseException], tmp_path: Path) -> None:
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": ACCOUNT}
    with pytest.raises(error), provide_credentials(environment, tmp_path):
        folder = Path(environment["GOOGLE_APPLICATION_CREDENTIALS"]).parent
        (folder / "more").mkdir()
        environment["GOOGLE_APPLICATION_CREDENTIALS"] = "changed by a stage"
        raise error("TERM")
    assert environment == {"GOOGLE_APPLICATION_CREDENTIALS": ACCOUNT}
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_that_cannot_be_written_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": ACCOUNT}
    with (
        pytest.raises(WorkFailed, match=r"cannot write credentials to .*/file/x"),
        provide_credentials(environment, tmp_path / "file" / "x"),
    ):
        pass
    assert environment == {"GOOGLE_APPLICATION_CREDENTIALS": ACCOUNT}


def test_the_text_of_files_and_decoded_variables_is_masked(tmp_path: Path) -> None:
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": base64.b64encode(ACCOUNT.encode()).decode()}
    with provide_credentials(environment, tmp_path) as credentials:
        masks = Masks.from_environment(environment, holds_secret=holds_secret, extra=credentials.secrets)
        assert masks.mask("b3BlbnNzaC1rZXktdjEAAAAABG5vbmU and robot@ours") == "*** and ***"
        assert "GOOGLE" not in repr(credentials)


# -- DVC's configuration --


@pytest.mark.parametrize(
    ("kind", "environment", "written"),
    [
        (
            "SSH",
            {"DVC_SSH_PASSWORD": "pw", "DVC_SSH_USER": "me"},
            {"password": "pw", "user": "me"},
        ),
        (
            "HTTP",
            {"DVC_HTTP_USER": "me", "DVC_HTTP_PASSWORD": "pw"},
            {"user": "me", "password": "pw", "auth": "basic"},
        ),
        (
            "HTTP",
            {"DVC_HTTP_TOKEN": "t"},
            {"password": "Bearer t", "auth": "custom", "custom_auth_header": "Authorization"},
        ),
        (
            "HTTP",
            {"DVC_HTTP_CUSTOM_AUTH_HEADER": "X-Key", "DVC_HTTP_PASSWORD": "k"},
            {"password": "k", "auth": "custom", "custom_auth_header": "X-Key"},
        ),
        ("WebDAV", {"DVC_WEBDAV_TOKEN": "t"}, {"token": "t"}),
        ("WebDAV", {"DVC_WEBDAV_USER": "me", "DVC_WEBDAV_PASSWORD": "pw"}, {"user": "me", "password": "pw"}),
        (
            "WebDAV",
            {"DVC_WEBDAV_CUSTOM_AUTH_HEADER": "X-Key", "DVC_WEBDAV_PASSWORD": "k"},
            {"custom_auth_header": "X-Key", "password": "k"},
        ),
        ("WebHDFS", {"DVC_WEBHDFS_TOKEN": "t"}, {"token": "t", "verify": "true"}),
        ("WebHDFS", {"DVC_WEBHDFS_USER": "me"}, {"user": "me", "verify": "true"}),
        (
            "WebHDFS",
            {"DVC_WEBHDFS_USER": "me", "DVC_WEBHDFS_PASSWORD": "pw"},
            {"user": "me", "password": "pw", "verify": "true"},
        ),
        ("Google Storage", {"CLOUDSDK_AUTH_ACCESS_TOKEN": "ya29.t"}, {"credentialpath": "ya29.t"}),
        ("Google Drive", {"GDRIVE_CREDENTIALS_DATA": ACCOUNT}, {"gdrive_use_service_account": "true"}),
        ("S3", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, {}),
        ("HDFS", {"HADOOP_USER_NAME": "me"}, {}),
        ("local", {"DVC_SSH_PASSWORD": "pw", "DVC_HTTP_TOKEN": "t"}, {}),
    ],
)
def test_a_remote_gets_the_options_of_its_own_kind(
    kind: str, environment: dict[str, str], written: dict[str, str], tmp_path: Path
) -> None:
    assert configured(environment, URLS[kind], tmp_path) == written


def test_a_private_key_is_configured_by_its_path_and_without_the_agent(tmp_path: Path) -> None:
    environment = {"DVC_SSH_PRIVATE_KEY": PEM, "DVC_SSH_PASSPHRASE": "pp", "SSH_AUTH_SOCK": "/run/agent"}
    written = configured(environment, URLS["SSH"], tmp_path)
    assert Path(written.pop("keyfile")).name == "DVC_SSH_PRIVATE_KEY"
    assert written == {"passphrase": "pp", "allow_agent": "false"}


def test_a_password_completes_the_configuration_of_the_project(tmp_path: Path) -> None:
    written = configured({"DVC_HTTP_PASSWORD": "pw"}, URLS["HTTP"], tmp_path, auth="basic", user="me")
    assert written == {"password": "pw", "auth": "basic"}


def test_oss_bucket_completes_a_url_without_a_bucket(tmp_path: Path) -> None:
    environment = {"OSS_BUCKET": "ours", "OSS_ACCESS_KEY_ID": "a", "OSS_ACCESS_KEY_SECRET": "b", "OSS_ENDPOINT": "e"}
    assert configured(environment, "oss:///path", tmp_path) == {"url": "oss://ours/path"}
    assert configured(environment, "oss://theirs/path", tmp_path) == {}


def test_ssh_host_keys_are_checked_and_nobody_is_asked_for_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SSHFileSystem:
        def _prepare_credentials(self, **config: object) -> dict[str, object]:
            return {"host": config["host"]}

    plugin, library = types.ModuleType("dvc_ssh"), types.ModuleType("asyncssh")
    plugin.SSHFileSystem = SSHFileSystem  # type: ignore[attr-defined]
    library.SSHClient = "one that asks nobody"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dvc_ssh", plugin)
    monkeypatch.setitem(sys.modules, "asyncssh", library)
    environment = {"DVC_SSH_KNOWN_HOSTS": KNOWN_HOSTS}
    with provide_credentials(environment, tmp_path) as credentials:
        credentials.configure({"storage": {"url": URLS["SSH"]}, "other": {"url": URLS["SSH"]}})
        prepared = SSHFileSystem()._prepare_credentials(host="h")
        known_hosts = environment["DVC_SSH_KNOWN_HOSTS"]
        assert prepared == {"host": "h", "known_hosts": known_hosts, "client_factory": "one that asks nobody"}
    assert SSHFileSystem()._prepare_credentials(host="h") == {"host": "h"}
    with provide_credentials({}, tmp_path) as credentials:
        credentials.configure({"storage": {"url": URLS["SSH"]}})
        assert SSHFileSystem()._prepare_credentials(host="h")["known_hosts"] == ()


def test_a_job_is_never_asked_for_a_password(tmp_path: Path) -> None:
    written = configured({}, URLS["HTTP"], tmp_path, auth="basic", user="me", ask_password=True)
    assert written == {"ask_password": "false"}


def test_secrets_are_sent_to_one_server_only(tmp_path: Path) -> None:
    """A password is for the server of the default remote; a private key is never sent, so every server may use it."""
    environment = {"DVC_HTTP_TOKEN": "t", "DVC_SSH_PASSWORD": "pw", "DVC_SSH_USER": "me"}
    remotes: dict[str, dict[str, object]] = {
        "public": {"url": "https://elsewhere.example/x"},
        "ours": {"url": "https://data.example/path"},
        "more": {"url": "https://data.example/other"},
        "host": {"url": "ssh://data.example/path"},
        "another": {"url": "ssh://other.example/path"},
        "through": {"url": "remote://public/below"},
    }
    with provide_credentials(environment, tmp_path) as credentials:
        written = credentials.configure(remotes, "ours")["remote"]
        assert {name for name, options in written.items() if "password" in options} == {"ours", "more", "host"}
        assert written["another"] == {"user": "me"}
        for name in ("public", "through"):
            check = credentials.check(name)
            assert check.found == ()
            (why,) = check.problems
            assert why.startswith(
                "DVC_HTTP_TOKEN is only sent to data.example: set the credentials of this remote with `dvc remote modify"
            )
    with provide_credentials({"DVC_SSH_PRIVATE_KEY": PEM}, tmp_path) as credentials:
        written = credentials.configure(remotes, "ours")["remote"]
        assert {name for name, options in written.items() if "keyfile" in options} == {"host", "another"}


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json", "is neither the path of a file nor its content"),
        ("GOOGLE_APPLICATION_CREDENTIALS", '{"type": "service_acc', "is not valid JSON; was it truncated?"),
        ("GDRIVE_CREDENTIALS_DATA", "folder/user.json", "is neither the path of a file nor its content"),
        ("DVC_SSH_PRIVATE_KEY", "~/.ssh/absent", "is neither the path of a file nor its content"),
    ],
)
def test_a_value_that_cannot_be_right_is_a_problem(name: str, value: str, why: str, tmp_path: Path) -> None:
    url = URLS[{"GO": "Google Storage", "GD": "Google Drive", "DV": "SSH"}[name[:2]]]
    with provide_credentials({name: value}, tmp_path) as credentials:
        credentials.configure({"storage": {"url": url}})
        assert credentials.check("storage").problems == (f"{name} {why}",)


# -- leftovers --


def test_leftovers_of_killed_runs_are_removed_but_not_those_of_running_ones(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from cml.remotes.credentials import provide_credentials\n"
        "with provide_credentials({'DVC_SSH_PRIVATE_KEY': sys.argv[2]}, pathlib.Path(sys.argv[1])):\n"
        "    print('ready', flush=True); sys.stdin.read()"
    )
    root = str(Path(__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), PEM],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        assert remove_leftovers(tmp_path) == 0
        (folder,) = tmp_path.iterdir()
        assert folder.name.startswith(f"{FOLDER_PREFIX}{process.pid}-")
        process.kill()
        process.wait()
        assert (folder / "DVC_SSH_PRIVATE_KEY").exists()
    environment = {"DVC_SSH_PRIVATE_KEY": PEM}
    with provide_credentials(environment, tmp_path):
        assert remove_leftovers(tmp_path) == 1
        assert list(tmp_path.iterdir()) == [Path(environment["DVC_SSH_PRIVATE_KEY"]).parent]


def test_a_folder_whose_process_id_is_in_use_by_another_process_is_removed(tmp_path: Path) -> None:
    (tmp_path / f"{FOLDER_PREFIX}{os.getpid()}-abc").mkdir()
    assert remove_leftovers(tmp_path) == 1


def test_only_our_own_folders_are_removed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"{FOLDER_PREFIX}1-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / f"{FOLDER_PREFIX}1-file").write_text("")
    assert remove_leftovers(tmp_path) == 0
    assert remove_leftovers(tmp_path / "absent") == 0
    assert (tmp_path / "elsewhere").is_dir()
