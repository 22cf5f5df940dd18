"""Google: gcp-storage-emulator behind a gate that requires a bearer token, and a stand-in for the token endpoints.

The stand-in checks the signature and times of a service account, the refresh token of a user, and the job token of a
workload identity. It answers for the hosts in `NAMES`.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.http_gate import HttpGate, HttpServer
from support.servers import free_port, post, served

from storage.cloud import Cloud

NAMES = ("oauth2", "sts", "iamcredentials", "cloudresourcemanager")
HOSTS = tuple(f"{name}.googleapis.com" for name in NAMES)
STORAGE = "storage.googleapis.com"
TOKEN_URI = "https://oauth2.googleapis.com/token"
EMAIL = "robot@our-project.iam.gserviceaccount.com"
CLIENT, CLIENT_SECRET, REFRESH = "123-ours.apps.googleusercontent.com", "GOCSPX-our-own-secret", "1//0gOurRefreshToken"
POOL = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/ci/providers/forge"
JOB_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyZXBvOm91cnMvcHJvamVjdCJ9.c2lnbmVkLWJ5LXRoZS1mb3JnZQ"
Pem = serialization.Encoding.PEM


class Tokens:
    """The endpoints that issue access tokens. `made` are the valid tokens: token -> scope."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.made: dict[str, str] = {}

    def service_account(self) -> dict[str, str]:
        """Returns the content of the service account's file."""
        pem = self._key.private_bytes(Pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return {
            "type": "service_account",
            "project_id": "our-project",
            "private_key_id": uuid.uuid4().hex,
            "private_key": pem.decode(),
            "client_email": EMAIL,
            "client_id": "1234567890",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": TOKEN_URI,
        }

    async def answer(self, request: web.Request) -> web.Response:
        if request.host.startswith("cloudresourcemanager."):  # what a job's identity may rarely ask
            return web.json_response({"error": {"code": 403, "message": "Permission denied"}}, status=403)
        if request.path == "/tokeninfo":
            is_right = request.query["access_token"] in self.made
            return web.json_response(
                {"exp": str(int(time.time()) + 3599)} if is_right else {}, status=200 if is_right else 400
            )
        if request.path.endswith(f"/serviceAccounts/{EMAIL}:generateAccessToken"):
            if _bearer(request) not in self.made:
                return web.json_response({"error": {"code": 401, "message": "Invalid credentials"}}, status=401)
            return web.json_response({"accessToken": self.make("storage"), "expireTime": "2099-01-01T00:00:00Z"})
        form = {name: str(value) for name, value in (await request.post()).items()}
        match form.get("grant_type"):
            case "urn:ietf:params:oauth:grant-type:jwt-bearer":
                try:
                    public = self._key.public_key()
                    claims = jwt.decode(form["assertion"], public, algorithms=["RS256"], audience=TOKEN_URI)
                except jwt.PyJWTError:
                    return _refusal("invalid_grant", "Invalid JWT Signature.")
                is_right, scope = claims["iss"] == EMAIL and claims["exp"] - claims["iat"] <= 3600, claims["scope"]
            case "refresh_token":
                wanted = {"client_id": CLIENT, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH}
                is_right, scope = wanted.items() <= form.items(), "https://www.googleapis.com/auth/drive"
            case "urn:ietf:params:oauth:grant-type:token-exchange":
                is_right, scope = form["audience"] == POOL and form["subject_token"] == JOB_TOKEN, form["scope"]
            case _:
                return _refusal("unsupported_grant_type", "Invalid grant_type")
        if not is_right:
            return _refusal("invalid_grant", "Bad Request")
        return web.json_response(
            {
                "access_token": self.make(scope),
                "expires_in": 3599,
                "token_type": "Bearer",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            }
        )

    def make(self, scope: str) -> str:
        token = f"ya29.{secrets.token_urlsafe(24)}"
        self.made[token] = scope
        return token

    def may_pass(self, request: web.Request) -> web.Response | None:
        """The check of Google's APIs: 401 without a valid token."""
        if _bearer(request) in self.made:
            return None
        said = "Invalid Credentials" if "Authorization" in request.headers else "Anonymous caller does not have access."
        error = {"code": 401, "message": said, "errors": [{"message": said, "domain": "global", "reason": "authError"}]}
        return web.json_response({"error": error}, status=401)


@dataclass(frozen=True, kw_only=True)
class GoogleStorage:
    """The emulator behind its gate, under Google's host names. `env` has the variables to reach it, no credentials."""

    tokens: Tokens
    gate: HttpGate
    env: dict[str, str] = field(default_factory=dict)
    port: int

    def bucket(self) -> str:
        """Makes a new bucket; returns its name."""
        name = f"bucket-{uuid.uuid4().hex}"
        post(self.port, "/storage/v1/b?project=ours", json.dumps({"name": name}).encode(), "application/json")
        return name


@contextlib.contextmanager
def storage_started(folder: Path, cloud: Cloud, tokens: Tokens) -> Iterator[GoogleStorage]:
    port = free_port()
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host", "127.0.0.1", "--port", str(port)]
    emulator = f"http://127.0.0.1:{port}"
    with (
        served([*command, "--in-memory"], port, log=folder / "emulator.log"),
        HttpGate(emulator, may_pass=tokens.may_pass) as gate,
    ):
        cloud.hosts[STORAGE] = gate.port
        env = {**cloud.env, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
        yield GoogleStorage(tokens=tokens, gate=gate, env=env, port=port)


@contextlib.contextmanager
def tokens_started(cloud: Cloud) -> Iterator[Tokens]:
    tokens = Tokens()
    with HttpServer(tokens.answer) as site:
        cloud.hosts |= dict.fromkeys(HOSTS, site.port)
        yield tokens


def _bearer(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def _refusal(error: str, description: str) -> web.Response:
    return web.json_response({"error": error, "error_description": description}, status=400)
