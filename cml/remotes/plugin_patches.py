"""Patches of DVC's storage plugins and of the libraries below them, in place while a run has its credentials.

Each patch says which versions need it. Libraries are imported only when a remote signs in: a run pays for no library
that it does not use.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from cml.process.patch import Patch, Replacement

OBJECT_PATH = re.compile(r"/[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?$")
METHOD_NOT_SUPPORTED = (405, 501)
NOT_FOUND = (404, 410)


@contextmanager
def patched_plugins(schemes: set[str], *, known_hosts: str, may_ask: bool) -> Iterator[None]:
    """Patches the plugins of these URL schemes until the end of the block.

    SSH hosts are checked against the file `known_hosts`, or else ~/.ssh/known_hosts. Without `may_ask`, nobody is asked
    for a password.
    """
    with ExitStack() as until_end:
        # Two schemes may have one plugin, which must be patched once.
        for module, name, library_patch in {PLUGINS[scheme] for scheme in schemes & PLUGINS.keys()}:
            with suppress(ImportError):  # the plugin is not installed; DVC says so itself
                plugin = getattr(importlib.import_module(module), name)
                if library_patch is None:
                    until_end.enter_context(CheckedHostKeys(plugin, known_hosts=known_hosts, may_ask=may_ask))
                else:
                    until_end.enter_context(AtSignIn(plugin, library_patch))
        yield


class AtSignIn(Replacement):
    """Replaces `_prepare_credentials` of a plugin (dvc-objects 5.2): its first call installs the patch of a library."""

    def __init__(self, plugin: Any, library_patch: Callable[[], Patch]) -> None:
        super().__init__()
        self._plugin = plugin
        self._library_patch = library_patch
        self._installed: Patch | None = None

    def replacements(self) -> list[tuple[Any, str, Any]]:
        original = self._plugin._prepare_credentials

        def prepare_credentials(plugin: Any, **config: Any) -> Any:
            # Every remote of this kind signs in, and some do it several times.
            if self._installed is None:
                patch = self._library_patch()
                patch.install()
                self._installed = patch
            return original(plugin, **config)

        return [(self._plugin, "_prepare_credentials", prepare_credentials)]

    def remove(self) -> None:
        super().remove()
        if self._installed is not None:
            self._installed.remove()
            self._installed = None


class CheckedHostKeys(Replacement):
    """Replaces `_prepare_credentials` of dvc-ssh 4.3, which connects with `known_hosts=None`: any host key is accepted.

    The plugin has no option for that. Its client also asks on the terminal when a key or a password is refused.
    """

    def __init__(self, plugin: Any, *, known_hosts: str, may_ask: bool) -> None:
        super().__init__()
        self._plugin = plugin
        self._known_hosts = known_hosts
        self._may_ask = may_ask

    def replacements(self) -> list[tuple[Any, str, Any]]:
        original = self._plugin._prepare_credentials

        def prepare_credentials(plugin: Any, **config: Any) -> dict[str, Any]:
            # () is asyncssh's default, ~/.ssh/known_hosts. None, as the plugin has it, accepts any key.
            credentials = {**original(plugin, **config), "known_hosts": self._known_hosts or ()}
            # The client of asyncssh asks nothing; the one of the plugin does.
            if not self._may_ask:
                credentials["client_factory"] = importlib.import_module("asyncssh").SSHClient
            return credentials

        return [(self._plugin, "_prepare_credentials", prepare_credentials)]


class OssUploads(Replacement):
    """Makes uploads of aiooss2 0.2.11 work: its payload class lacks a method that is abstract since aiohttp 3.10.

    Nobody calls that method, but the class cannot be instantiated (aiooss2 #96).
    """

    def replacements(self) -> list[tuple[Any, str, Any]]:
        payload = importlib.import_module("aiooss2.adapter").AsyncPayload
        return [(payload, "__abstractmethods__", frozenset())]


class FinalGoogleRefusals(Replacement):
    """Replaces `gcsfs.retry.is_retriable`: gcsfs retries a refused sign-in for half a minute.

    It treats every RefreshError as an expired token, also those that Google's library marks as final.
    """

    def replacements(self) -> list[tuple[Any, str, Any]]:
        retry = importlib.import_module("gcsfs.retry")
        refresh_error = importlib.import_module("google.auth.exceptions").RefreshError
        original = retry.is_retriable

        def is_retriable(error: Exception) -> bool:
            # gcsfs raises an error of its own, with that of Google's library as its cause.
            refusals = [each for each in (error, error.__cause__) if isinstance(each, refresh_error)]
            return bool(original(error)) and all(refusal.retryable for refusal in refusals)

        return [(retry, "is_retriable", is_retriable)]


class FinalAzureRefusals(Replacement):
    """Replaces `StorageRetryPolicy.increment`: azure-storage-blob retries a refused sign-in for 90 seconds."""

    def replacements(self) -> list[tuple[Any, str, Any]]:
        policy = importlib.import_module("azure.storage.blob._shared.policies").StorageRetryPolicy
        refusal = importlib.import_module("azure.core.exceptions").ClientAuthenticationError
        original = policy.increment

        def increment(policy: Any, settings: Any, request: Any, response: Any = None, error: Any = None) -> bool:
            """Returns whether to retry."""
            if isinstance(error, refusal):
                return False
            return bool(original(policy, settings, request, response, error))

        return [(policy, "increment", increment)]


class HttpExists(Replacement):
    """Replaces `HTTPFileSystem._exists` of dvc-http 2.32.

    The original starts to download the object, and returns False when the server refuses or fails: DVC would then take
    objects for missing that are there. This one uses HEAD and raises. The URL of a folder is an exception: servers may
    refuse it although they have its objects.
    """

    def replacements(self) -> list[tuple[Any, str, Any]]:
        plugin = importlib.import_module("dvc_http.spec").HTTPFileSystem

        async def exists(self: Any, path: str, **_: Any) -> bool:
            session, url = await self.set_session(), self.encode_url(path)
            async with session.head(url, allow_redirects=True, **self.kwargs) as response:
                status = response.status
            if status in METHOD_NOT_SUPPORTED:
                async with session.get(url, **self.kwargs) as response:
                    status = response.status
            if status >= 400 and status not in NOT_FOUND and OBJECT_PATH.search(path):
                response.raise_for_status()
            return bool(status < 400)

        return [(plugin, "_exists", exists)]


class StrictExists(Replacement):
    """Replaces `exists` of an fsspec file system, which returns False when the server refuses or fails.

    So do webdav4 0.11, and WebHDFS of fsspec 2026.9, which inherits it.
    """

    module: str
    name: str

    def replacements(self) -> list[tuple[Any, str, Any]]:
        def exists(self: Any, path: str, **options: Any) -> bool:
            with suppress(FileNotFoundError):
                self.info(path, **options)
                return True
            return False

        return [(getattr(importlib.import_module(self.module), self.name), "exists", exists)]


class WebdavExists(StrictExists):
    module, name = "webdav4.fsspec", "WebdavFileSystem"


class WebhdfsExists(StrictExists):
    module, name = "fsspec.implementations.webhdfs", "WebHDFS"


# URL scheme -> module and class of the plugin, patch of its library (None: CheckedHostKeys, which needs arguments).
PLUGINS: dict[str, tuple[str, str, type[Patch] | None]] = {
    "ssh": ("dvc_ssh", "SSHFileSystem", None),
    "oss": ("dvc_oss", "OSSFileSystem", OssUploads),
    "gs": ("dvc_gs", "GSFileSystem", FinalGoogleRefusals),
    "azure": ("dvc_azure", "AzureFileSystem", FinalAzureRefusals),
    "http": ("dvc_http", "HTTPFileSystem", HttpExists),
    "https": ("dvc_http", "HTTPFileSystem", HttpExists),
    "webdav": ("dvc_webdav", "WebDAVFileSystem", WebdavExists),
    "webdavs": ("dvc_webdav", "WebDAVFileSystem", WebdavExists),
    "webhdfs": ("dvc_webhdfs", "WebHDFSFileSystem", WebhdfsExists),
}
