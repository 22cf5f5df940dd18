"""What the patches of storage plugins rely on: each fault is still there without its patch, and gone with it.

A test that fails after an update says that the plugin has changed, or that a patch is no longer needed.
"""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from cml.process.patch import Patch, Replacement
from cml.remotes.plugin_patches import (
    PLUGINS,
    CheckedHostKeys,
    FinalAzureRefusals,
    FinalGoogleRefusals,
    OssUploads,
    StrictExists,
    WebdavExists,
    WebhdfsExists,
)


# In an order that is the same in each process: the workers of pytest-xdist must collect the same tests.
@pytest.mark.parametrize(("module", "name"), sorted({(module, name) for module, name, _ in PLUGINS.values()}))
def test_every_plugin_prepares_credentials_in_a_method_of_its_own(module: str, name: str) -> None:
    assert "_prepare_credentials" in vars(getattr(import_module(module), name))


@pytest.mark.parametrize("patch", dict.fromkeys(patch for *_, patch in PLUGINS.values() if patch))
def test_every_patch_restores_what_it_replaced(patch: type[Patch]) -> None:
    installed = patch()
    assert isinstance(installed, Replacement)
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in installed.replacements()]
    with installed:
        assert all(getattr(owner, name) is not value for owner, name, value in before)
    assert all(getattr(owner, name) is value for owner, name, value in before)


def test_ssh_accepts_any_host_key_without_the_patch() -> None:
    import asyncssh
    from dvc_ssh import SSHFileSystem
    from dvc_ssh.client import InteractiveSSHClient

    def sign_in() -> Any:
        return SSHFileSystem(host="h").fs_args

    before = sign_in()
    assert before.get("known_hosts") is None
    assert before["client_factory"] is InteractiveSSHClient
    with CheckedHostKeys(SSHFileSystem, known_hosts="/hosts", may_ask=False):
        assert (sign_in()["known_hosts"], sign_in()["client_factory"]) == ("/hosts", asyncssh.SSHClient)
    with CheckedHostKeys(SSHFileSystem, known_hosts="", may_ask=True):
        assert (sign_in()["known_hosts"], sign_in()["client_factory"]) == ((), InteractiveSSHClient)


def test_oss_cannot_create_the_payload_of_an_upload_without_the_patch() -> None:
    payload = import_module("aiooss2.adapter").AsyncPayload
    with pytest.raises(TypeError, match="abstract"):
        payload(b"")
    with OssUploads():
        payload(b"")


def test_gcsfs_retries_a_final_refusal_without_the_patch() -> None:
    retry, refresh_error = import_module("gcsfs.retry"), import_module("google.auth.exceptions").RefreshError
    refused, expired = refresh_error("no", retryable=False), refresh_error("wait", retryable=True)
    assert (retry.is_retriable(refused), retry.is_retriable(expired)) == (True, True)
    with FinalGoogleRefusals():
        assert (retry.is_retriable(refused), retry.is_retriable(expired)) == (False, True)


def test_azure_retries_a_final_refusal_without_the_patch() -> None:
    refused = import_module("azure.core.exceptions").ClientAuthenticationError("no")
    policy = import_module("azure.storage.blob").ExponentialRetry()
    request = SimpleNamespace(method="GET", body=None)

    def is_retried(error: Exception) -> bool:
        settings = {"total": 3, "connect": 3, "read": 3, "status": 3, "history": [], "count": 0, "hook": None}
        settings |= {"mode": None, "body_position": None, "retry_secondary": False}
        return bool(policy.increment(settings, request, error=error))

    assert (is_retried(refused), is_retried(OSError("wait"))) == (True, True)
    with FinalAzureRefusals():
        assert (is_retried(refused), is_retried(OSError("wait"))) == (False, True)


@pytest.mark.parametrize("patch", [WebdavExists, WebhdfsExists])
def test_exists_takes_a_refusal_for_a_missing_file_without_the_patch(patch: type[StrictExists]) -> None:
    original = getattr(import_module(patch.module), patch.name)

    class Refusing(original):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            pass

        def info(self, path: str, **_: Any) -> dict[str, Any]:
            raise FileNotFoundError(path) if path == "absent" else PermissionError(path)

    file_system = object.__new__(Refusing)
    assert not file_system.exists("refused"), "it raises now: the patch can go"
    with patch():
        assert not file_system.exists("absent")
        with pytest.raises(PermissionError):
            file_system.exists("refused")
