"""S3, IAM and STS by moto, which checks signatures, session tokens and permissions.

moto does not check the identity of a job (AssumeRoleWithWebIdentity); a stand-in in front of its STS does.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from aiohttp import web
from support.http_gate import Handler, HttpServer
from support.servers import free_port, post, served

REGION = "eu-central-1"
JOB_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyZXBvOm91cnMvcHJvamVjdCJ9.c2lnbmVkLWJ5LXRoZS1mb3JnZQ"
SERVER = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"


@dataclass(frozen=True, kw_only=True)
class S3:
    """The server. `owner` may do everything, `reader` only read; `role` may be assumed and may do everything, at `sts`
    by whoever brings the job's token.
    """

    url: str
    sts: str
    owner: dict[str, str]
    reader: dict[str, str]
    role: str

    def bucket(self) -> str:
        """Makes a new bucket; returns its name."""
        name = f"bucket-{uuid.uuid4().hex}"
        where = {"LocationConstraint": REGION}
        client("s3", self.url, self.owner).create_bucket(Bucket=name, CreateBucketConfiguration=where)
        return name

    def session(self) -> dict[str, str]:
        """Assumes the role; returns its temporary credentials."""
        asked = client("sts", self.url, self.owner).assume_role(RoleArn=self.role, RoleSessionName="ci")
        return {
            "AWS_ACCESS_KEY_ID": asked["Credentials"]["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": asked["Credentials"]["SecretAccessKey"],
            "AWS_SESSION_TOKEN": asked["Credentials"]["SessionToken"],
        }


def client(service: str, url: str, credentials: Mapping[str, str]) -> Any:
    boto3: Any = importlib.import_module("boto3")
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=credentials.get("AWS_SESSION_TOKEN"),
    )


@contextlib.contextmanager
def started(folder: Path) -> Iterator[S3]:
    port = free_port()
    with served([sys.executable, "-c", SERVER, str(port)], port, log=folder / "moto.log"):
        url = f"http://127.0.0.1:{port}"
        iam = client("iam", url, {"AWS_ACCESS_KEY_ID": "setup", "AWS_SECRET_ACCESS_KEY": "setup"})
        owner, reader = _user(iam, "owner", "s3:*", "sts:*"), _user(iam, "reader", "s3:Get*", "s3:List*")
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:*"}
        role = iam.create_role(RoleName="ci", AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
        iam.put_role_policy(RoleName="ci", PolicyName="all", PolicyDocument=_policy(_allowed("s3:*")))
        # From now on moto checks credentials.
        post(port, "/moto-api/reset-auth", b"0", "text/plain")
        with HttpServer(_identity(url, owner, role)) as sts:
            yield S3(url=url, sts=sts.url, owner=owner, reader=reader, role=role)


def _identity(url: str, owner: dict[str, str], role: str) -> Handler:
    """Answers AssumeRoleWithWebIdentity with credentials from moto, but only for the token of the job."""

    async def answer(request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        assert form["Action"] == "AssumeRoleWithWebIdentity", form
        if (form["RoleArn"], form["WebIdentityToken"]) != (role, JOB_TOKEN):
            inside = "<Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>Not the job's token</Message>"
            text = f"<ErrorResponse><Error>{inside}</Error><RequestId>1</RequestId></ErrorResponse>"
            return web.Response(status=400, text=text, content_type="text/xml")
        sts = client("sts", url, owner)
        made = await asyncio.to_thread(sts.assume_role, RoleArn=role, RoleSessionName=form["RoleSessionName"])
        fields = {**made["Credentials"], "Expiration": made["Credentials"]["Expiration"].isoformat()}
        inside = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in fields.items())
        text = f"<AssumeRoleWithWebIdentityResult><Credentials>{inside}</Credentials></AssumeRoleWithWebIdentityResult>"
        text = f"<AssumeRoleWithWebIdentityResponse>{text}</AssumeRoleWithWebIdentityResponse>"
        return web.Response(text=text, content_type="text/xml")

    return answer


def _user(iam: Any, name: str, *actions: str) -> dict[str, str]:
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=_policy(_allowed(*actions)))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def _allowed(*actions: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*"}


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
