"""nginx, which accepts PUT, for HTTP remotes, and wsgidav for WebDAV, each with all auth methods.

wsgidav cannot check a token or a header; a gate in front of it does.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from support.http_gate import HttpGate
from support.servers import free_port, program, served

USER, PASSWORD, TOKEN, KEY = "ada", "correct-horse-battery", "glpat-0123456789abcdef", "key-of-the-registry-01"
HEADER = "X-JFrog-Art-Api"
NGINX = """\
{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {folder}/www;
    dav_methods PUT DELETE;
    create_full_put_path on;
    location /open/ {{ }}
    location /basic/ {{ auth_basic "ours"; auth_basic_user_file {folder}/users; }}
    location /token/ {{ if ($http_authorization != "Bearer {token}") {{ return 401; }} }}
    location /header/ {{ if ($http_x_jfrog_art_api != "{key}") {{ return 403; }} }}
    location /readable/ {{ limit_except GET {{ deny all; }} }}
  }}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Web:
    """A server with one folder for each auth method; `urls` has the base URL of each."""

    urls: dict[str, str]
    folder: Path


@contextlib.contextmanager
def nginx_started(folder: Path) -> Iterator[Web]:
    nginx, port = program("nginx", "apt-get install nginx-light"), free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    text = NGINX.format(user=user, folder=folder, port=port, token=TOKEN, key=KEY)
    (folder / "nginx.conf").write_text(text)
    ways = ("open", "basic", "token", "header", "readable")
    for method in ways:
        (folder / "www" / method).mkdir(parents=True)
    command = [nginx, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with served(command, port, log=folder / "nginx.log"):
        yield Web(urls={method: f"http://127.0.0.1:{port}/{method}" for method in ways}, folder=folder / "www")


@contextlib.contextmanager
def webdav_started(folder: Path) -> Iterator[Web]:
    with contextlib.ExitStack() as stack:
        share = folder / "share"
        share.mkdir()
        opened, basic = (stack.enter_context(_wsgidav(folder, share, users)) for users in (True, {USER: PASSWORD}))
        urls = {"open": opened, "basic": basic}
        for method, header, value in (("token", "Authorization", f"Bearer {TOKEN}"), ("header", HEADER, KEY)):
            gate = stack.enter_context(HttpGate(opened, may_pass=_wants(header, value)))
            urls[method] = gate.url
        yield Web(urls={method: url.replace("http", "webdav", 1) for method, url in urls.items()}, folder=share)


@contextlib.contextmanager
def _wsgidav(folder: Path, share: Path, users: bool | dict[str, str]) -> Iterator[str]:  # noqa: FBT001 - wsgidav's own
    port = free_port()
    mapping = users if isinstance(users, bool) else {user: {"password": text} for user, text in users.items()}
    settings = {
        "host": "127.0.0.1",
        "port": port,
        "provider_mapping": {"/": str(share)},
        "simple_dc": {"user_mapping": {"*": mapping}},
        "http_authenticator": {"accept_digest": False, "default_to_digest": False},
    }
    file = folder / f"wsgidav-{port}.json"
    file.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "wsgidav.server.server_cli", "--config", str(file), "-q"]
    with served(command, port, log=folder / f"wsgidav-{port}.log"):
        yield f"http://127.0.0.1:{port}"


def _wants(header: str, value: str) -> Callable[[web.Request], web.Response | None]:
    def may_pass(request: web.Request) -> web.Response | None:
        return None if request.headers.get(header) == value else web.Response(status=401)

    return may_pass
