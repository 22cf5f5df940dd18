"""Azure: azurite for blobs, over TLS under the host name of a real account, and a stand-in for Entra's token endpoint.

Azurite checks keys, SAS tokens and the issuer, audience and times of a bearer token, but not its signature. The stand-in
checks the client secret or the token of the job before it issues a bearer token.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import importlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from support.http_gate import HttpServer
from support.servers import free_port, program, served

from storage.cloud import Cloud

ACCOUNT, KEY = "ourdata", base64.b64encode(b"the account's own key, 32 bytes.").decode()
HOST = f"{ACCOUNT}.blob.core.windows.net"
AUTHORITY = "login.microsoftonline.com"
TENANT, CLIENT = "7d5f1a3e-0000-4000-8000-000000000001", "7d5f1a3e-0000-4000-8000-000000000002"
CLIENT_SECRET = "Xy8~the-clients-own-secret"
JOB_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyZXBvOm91cnMvcHJvamVjdCJ9.c2lnbmVkLWJ5LXRoZS1mb3JnZQ"
CONNECTION = f"DefaultEndpointsProtocol=https;AccountName={ACCOUNT};AccountKey={KEY};EndpointSuffix=core.windows.net"
NODE = "node_modules/node-linux-*/bin/node"
MAIN = "node_modules/azurite/dist/src/blob/main.js"


@dataclass(frozen=True, kw_only=True)
class Azure:
    """The account. `env` leads to it, without credentials."""

    cloud: Cloud

    @property
    def env(self) -> dict[str, str]:
        return self.cloud.env

    def container(self) -> str:
        """Makes a new container; returns its name."""
        name = f"container-{uuid.uuid4().hex}"
        self._service().create_container(name)
        return name

    def sas(self, *, permission: str = "rwdlac") -> str:
        """Returns a SAS token for the blobs of the account, signed with its key."""
        blob: Any = importlib.import_module("azure.storage.blob")
        return str(
            blob.generate_account_sas(
                ACCOUNT,
                KEY,
                resource_types=blob.ResourceTypes(service=True, container=True, object=True),
                permission=blob.AccountSasPermissions.from_string(permission),
                expiry=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1),
            )
        )

    def _service(self) -> Any:
        blob: Any = importlib.import_module("azure.storage.blob")
        url, authority = f"https://127.0.0.1:{self.cloud.hosts[HOST]}/{ACCOUNT}", str(self.cloud.authority)
        return blob.BlobServiceClient(url, credential=KEY, connection_verify=authority)


@contextlib.contextmanager
def started(folder: Path, cloud: Cloud) -> Iterator[Azure]:
    top = Path(os.environ.get("CML_TEST_AZURITE", ".venv/storage")).resolve()
    main, node = top / MAIN, next(top.glob(NODE), None)  # Debian's node may be too old for azurite
    if not main.exists():
        pytest.fail(f"azurite is not installed in {top}: run `make test-storage`", pytrace=False)
    port = free_port()
    command = [
        str(node or program("node", "apt-get install nodejs")),
        str(main),
        "--blobPort",
        str(port),
        "--oauth",
        "basic",
        "--skipApiVersionCheck",
        "--silent",
    ]
    command += ["--cert", str(cloud.certificate), "--key", str(cloud.certificate)]
    command += ["--inMemoryPersistence", "--disableTelemetry"]
    env = {"PATH": os.environ["PATH"], "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    with served(command, port, log=folder / "azurite.log", cwd=folder, env=env), HttpServer(_token) as entra:
        cloud.hosts |= {HOST: port, AUTHORITY: entra.port}
        cloud.speaks_tls.add(HOST)
        yield Azure(cloud=cloud)


async def _token(request: web.Request) -> web.Response:
    form = await request.post()
    is_client = (form.get("client_id"), request.path) == (CLIENT, f"/{TENANT}/oauth2/v2.0/token")
    if not is_client or form.get("scope") != "https://storage.azure.com/.default":
        return web.json_response({"error": "invalid_request", "error_description": "AADSTS900144"}, status=400)
    if form.get("client_secret") != CLIENT_SECRET and form.get("client_assertion") != JOB_TOKEN:
        said = "AADSTS7000215: Invalid client secret provided."
        return web.json_response({"error": "invalid_client", "error_description": said}, status=401)
    now = int(time.time())
    claims = {"aud": "https://storage.azure.com", "iss": f"https://sts.windows.net/{TENANT}/", "tid": TENANT}
    claims |= {"iat": str(now), "nbf": str(now - 60), "exp": str(now + 3600)}
    made = ".".join(_base64url(part) for part in ({"alg": "RS256", "typ": "JWT"}, claims, "unsigned"))
    return web.json_response({"token_type": "Bearer", "expires_in": 3600, "access_token": made})


def _base64url(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
