"""The emulated services together: who asks, whether they may, what they are answered."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, unquote

import orjson

from memlane.testing.emulator import bedrock, policies, signature, sts
from memlane.testing.emulator.clock import MovedClock
from memlane.testing.emulator.counters import Counting
from memlane.testing.emulator.failure import AwsError, rendered
from memlane.testing.emulator.faults import FaultPlan
from memlane.testing.emulator.identity import Caller, Identity
from memlane.testing.emulator.routes import Asked, Told
from memlane.testing.emulator.s3vectors.refusals import invalid
from memlane.testing.emulator.s3vectors.resources import Account
from memlane.testing.emulator.s3vectors.service import Call, call_of
from memlane.testing.emulator.s3vectors.world import World
from memlane.testing.emulator.switches import Switches

__all__ = ("ACCOUNT", "MAX_BODY", "REGION", "Cloud")

ACCOUNT: Final = "111122223333"
REGION: Final = "us-east-1"

_log: Final = logging.getLogger(__name__)

MAX_BODY: Final = 20_971_520  # inclusive [E]
_JSON: Final = "application/json"
TENANT_ROLE: Final = "memlane-tenant"
_TENANT_ACTIONS: Final = (
    "PutVectors", "QueryVectors", "GetVectors", "ListVectors", "DeleteVectors", "GetIndex",
)  # fmt: skip


class Cloud:
    """One account in one region. One thread uses it.

    Attributes:
        age: Grows with each reset.
    """

    def __init__(self, switches: Switches | None = None) -> None:
        self._initial = switches or Switches()
        self._requests = 0
        self.age = 0
        self.clock = MovedClock()
        self.counting = Counting()
        self.faults = FaultPlan()
        self.identity = Identity(account=ACCOUNT, region=REGION)
        self.world = World(
            account=Account(region=REGION, id=ACCOUNT),
            switches=self._initial,
            clock=self.clock,
            counting=self.counting,
        )
        self.reset()

    @property
    def switches(self) -> Switches:
        """The switches in force."""
        return self.world.switches

    def switch(self, changes: Mapping[str, object]) -> None:
        """Set some of them anew."""
        self.world.switches = self.world.switches.changed(changes)

    def reset(self) -> None:
        """Be as new: nothing stored, nobody but the host, no fault, the machine's time."""
        self.world.account.buckets.clear()
        self.world.answers.clear()
        self.world.rates.clear()
        self.world.switches = self._initial
        self.clock.reset()
        self.counting.reset()
        self.age += 1
        self.faults.clear()
        self.identity.reset()
        self.identity.put_role(
            TENANT_ROLE, trust=_trusting(self.identity.account), policy=_tenant_policy()
        )

    @property
    def tenant_role(self) -> str:
        """The ARN of the role that a fresh account holds for tenants."""
        return f"arn:aws:iam::{self.identity.account}:role/{TENANT_ROLE}"

    def now(self) -> float:
        """Return the time the server believes it is, in seconds since 1970."""
        return self.clock.timestamp() + self.switches.clock_skew

    def request_id(self) -> str:
        """Return the next request's id."""
        self._requests += 1
        return f"00000000-0000-4000-8000-{self._requests:012x}"

    def answer(self, asked: Asked, told: Told) -> None:
        """Answer a request; a refusal is an answer too."""
        told.request_id = self.request_id()
        try:
            self._answer(asked, told)
        except AwsError as error:
            self.refuse(asked, told, error)
        except Exception:  # noqa: BLE001  the emulator's own fault, shown where tests are run
            _log.exception("the emulator failed at %s", asked.operation or asked.path)
            message = "The emulator failed; its standard error says where"
            self.refuse(asked, told, AwsError("InternalServerException", 500, message))

    def refuse(self, asked: Asked, told: Told, error: AwsError) -> None:
        """Answer with a refusal, in the protocol of the request's service."""
        told.code = error.code
        told.status, told.headers, told.body = rendered(
            error, asked.service, told.request_id, type_header=self.switches.error_header
        )

    def _answer(self, asked: Asked, told: Told) -> None:
        if asked.service == "s3vectors" and len(asked.body) > MAX_BODY:
            raise invalid("Request body exceeds max allowed size")
        if not asked.service:
            raise AwsError("UnknownOperationException", 404, "")
        caller = self._caller(asked)
        told.principal = caller.arn
        match asked.service:
            case "s3vectors":
                self._vectors(asked, caller, told)
            case "bedrock":
                self._model(asked, caller, told)
            case _:
                self._sts(asked, caller, told)

    def _sts(self, asked: Asked, caller: Caller, told: Told) -> None:
        form = dict(parse_qsl(asked.body.decode("utf-8", "replace"), keep_blank_values=True))
        told.resource = form.get("RoleArn", "")
        told.status, told.headers, told.body = sts.answer(
            form, caller, self.identity, self.now(), self.switches, request_id=told.request_id
        )

    def _caller(self, asked: Asked) -> Caller:
        now = self.now()
        if not self.switches.signatures:
            return self.identity.caller_of(self.identity.admin.access_key, None, now)
        return signature.verify(
            method=asked.method,
            path=asked.path,
            query=asked.query,
            headers=asked.headers,
            body=asked.body,
            service=asked.service,
            identity=self.identity,
            now=now,
            switches=self.switches,
        )

    def _vectors(self, asked: Asked, caller: Caller, told: Told) -> None:
        arn, keys = None, None
        if asked.path.startswith("/tags/"):
            arn = unquote(asked.path.removeprefix("/tags/"))
            keys = parse_qs(asked.query).get("tagKeys")
        world = self.world
        call = call_of(world.account, asked.operation, asked.body, arn=arn, tag_keys=keys)
        told.resource, told.vectors = call.resource, call.size
        if not self.switches.authorization_first:
            call.check_existence(world.account)
        self._authorize(call, caller)
        answer = call.answer(world)
        told.headers["Content-Type"] = _JSON
        told.body = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)

    def _authorize(self, call: Call, caller: Caller) -> None:
        account = self.world.account
        bucket = account.buckets.get(call.wanted.bucket) if call.wanted else None
        context = call.context(account)
        for action in call.actions:
            policies.authorize(
                caller,
                action,
                call.resource,
                context,
                self.identity,
                resource_policy=None if bucket is None else bucket.parsed_policy,
                now=self.now(),
            )

    def _model(self, asked: Asked, caller: Caller, told: Told) -> None:
        model = unquote(asked.path.removeprefix("/model/").removesuffix("/invoke"))
        told.resource = model
        for arn in bedrock.resources_of(model, region=REGION, account=ACCOUNT):
            policies.authorize(
                caller, "bedrock:InvokeModel", arn, {}, self.identity, now=self.now()
            )
        told.status, told.headers, told.body = bedrock.invoke(model, asked.body, self.switches)


def _trusting(account: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
        },
    }


def _tenant_policy() -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Action": [f"s3vectors:{action}" for action in _TENANT_ACTIONS],
            "Resource": (
                f"arn:aws:s3vectors:{REGION}:{ACCOUNT}:"
                "bucket/*/index/memory-${aws:PrincipalTag/TenantID}"
            ),
        },
    }
