"""What DVC's plugins for storages and the libraries below them do wrong, put right from outside while a run lasts.

A plugin is only looked at when it signs in: libraries that nobody uses are never imported.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

OBJECT = re.compile(r"/[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?$")
Mend = Callable[[ExitStack], dict[str, Any]]  # makes changes until the end, returns what to sign in with besides


@contextmanager
def mended(schemes: set[str], *, known_hosts: str, may_ask: bool) -> Iterator[None]:
    """Mends the plugins of these URL schemes; all is as it was at the end.

    SSH hosts are held to the file `known_hosts`, else to ~/.ssh/known_hosts; without `may_ask` nobody is asked for a
    password.
    """
    mends: dict[str, tuple[str, str, Mend]] = {
        "ssh": ("dvc_ssh", "SSHFileSystem", lambda _: _safe_ssh(known_hosts, may_ask=may_ask)),
        "oss": ("dvc_oss", "OSSFileSystem", _oss_uploads),
        "gs": ("dvc_gs", "GSFileSystem", _final_refusals_of_google),
        "azure": ("dvc_azure", "AzureFileSystem", _final_refusals_of_azure),
        "http": ("dvc_http", "HTTPFileSystem", _honest_answers_over_http),
        "https": ("dvc_http", "HTTPFileSystem", _honest_answers_over_http),
        "webdav": ("dvc_webdav", "WebDAVFileSystem", _honest_answers_of("webdav4.fsspec", "WebdavFileSystem")),
        "webdavs": ("dvc_webdav", "WebDAVFileSystem", _honest_answers_of("webdav4.fsspec", "WebdavFileSystem")),
        "webhdfs": (
            "dvc_webhdfs",
            "WebHDFSFileSystem",
            _honest_answers_of("fsspec.implementations.webhdfs", "WebHDFS"),
        ),
    }
    with ExitStack() as until_end:
        for scheme in schemes & mends.keys():
            module, name, mend = mends[scheme]
            with suppress(ImportError):  # DVC says itself which plugin is missing
                _at_sign_in(getattr(importlib.import_module(module), name), mend, until_end)
        yield


def _at_sign_in(plugin: Any, mend: Mend, until_end: ExitStack) -> None:
    prepare = plugin._prepare_credentials
    more: list[dict[str, Any]] = []

    def prepare_mended(self: Any, **config: Any) -> dict[str, Any]:
        if not more:
            more.append(mend(until_end))
        return {**prepare(self, **config), **more[0]}

    _replace(plugin, "_prepare_credentials", prepare_mended, until_end)


def _safe_ssh(known_hosts: str, *, may_ask: bool) -> dict[str, Any]:
    """dvc-ssh 4.3 connects with `known_hosts=None`, which accepts any host key, and has no option for it; its client
    asks on the terminal when a key or a password is refused.
    """
    client = {} if may_ask else {"client_factory": importlib.import_module("asyncssh").SSHClient}
    return {"known_hosts": known_hosts or (), **client}


def _oss_uploads(until_end: ExitStack) -> dict[str, Any]:
    """Uploads of aiooss2 0.2.11 lack a method that aiohttp 3.10 wants of each and never calls: none could begin
    (aiooss2 #96).
    """
    upload = importlib.import_module("aiooss2.adapter").AsyncPayload
    _replace(upload, "__abstractmethods__", frozenset(), until_end)
    return {}


def _final_refusals_of_google(until_end: ExitStack) -> dict[str, Any]:
    """gcsfs tries a refused sign-in for half a minute: it takes it for a token that ran out."""
    retry, errors = importlib.import_module("gcsfs.retry"), importlib.import_module("google.auth.exceptions")
    is_retriable = retry.is_retriable

    def may_pass(error: Exception) -> bool:
        refusals = [each for each in (error, error.__cause__) if isinstance(each, errors.RefreshError)]
        return bool(is_retriable(error)) and all(refusal.retryable for refusal in refusals)

    _replace(retry, "is_retriable", may_pass, until_end)
    return {}


def _final_refusals_of_azure(until_end: ExitStack) -> dict[str, Any]:
    """Azure's library tries a refused sign-in for a minute and a half."""
    policy = importlib.import_module("azure.storage.blob._shared.policies").StorageRetryPolicy
    refusal = importlib.import_module("azure.core.exceptions").ClientAuthenticationError
    increment = policy.increment

    def goes_on(self: Any, settings: Any, request: Any, response: Any = None, error: Any = None) -> bool:
        return not isinstance(error, refusal) and bool(increment(self, settings, request, response, error))

    _replace(policy, "increment", goes_on, until_end)
    return {}


def _honest_answers_over_http(until_end: ExitStack) -> dict[str, Any]:
    """Asked whether an object is there, dvc-http 2.32 begins to download it, and takes a refusal or a failure for a no.

    It is asked by HEAD; what is no clear answer is raised. A folder's URL may be refused and still hold objects.
    """
    plugin = importlib.import_module("dvc_http.spec").HTTPFileSystem

    async def exists(self: Any, path: str, **_: Any) -> bool:
        session, url = await self.set_session(), self.encode_url(path)
        async with session.head(url, allow_redirects=True, **self.kwargs) as answer:
            status = answer.status
        if status in (405, 501):
            async with session.get(url, **self.kwargs) as answer:
                status = answer.status
        if status >= 400 and status not in (404, 410) and OBJECT.search(path):
            answer.raise_for_status()
        return bool(status < 400)

    _replace(plugin, "_exists", exists, until_end)
    return {}


def _honest_answers_of(module: str, name: str) -> Mend:
    """Asked whether something is there, these take a refusal or a failure for a no (fsspec's own `exists` does)."""

    def mend(until_end: ExitStack) -> dict[str, Any]:
        def exists(self: Any, path: str, **options: Any) -> bool:
            with suppress(FileNotFoundError):
                self.info(path, **options)
                return True
            return False

        _replace(getattr(importlib.import_module(module), name), "exists", exists, until_end)
        return {}

    return mend


def _replace(place: Any, name: str, value: Any, until_end: ExitStack) -> None:
    until_end.callback(setattr, place, name, getattr(place, name))
    setattr(place, name, value)
