"""A token vending machine as a customer may run one: a real server, rude on demand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from memlane.layout import tenant_code
from memlane.runtime import OwnedLoop
from memlane.scope import Scope

Answer = Callable[[dict[str, Any]], web.StreamResponse]


def vended(tenant: object, **more: object) -> dict[str, object]:
    code = tenant_code(str(tenant))
    return {
        "accessKeyId": f"ASIA{code}",
        "secretAccessKey": f"secret-{code}",
        "sessionToken": f"token-{code}",
        "expiration": "2026-03-14T10:26:53Z",
        "tenantId": tenant,
        **more,
    }


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in vended("acme").items() if key != name}


class VendingMachine:
    """Knows tenants by their bearer `token-of-<tenant>`, and counts who asked for what."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[Answer] = []
        self._loop = OwnedLoop("vending-machine")
        self._runner: web.AppRunner | None = None
        self.url = self._loop.call_sync(self._start)

    def then(self, *answers: Answer) -> None:
        """Give these answers first, one each."""
        self.answers.extend(answers)

    def close(self) -> None:
        assert self._runner is not None
        self._loop.call_sync(self._runner.cleanup)
        self._loop.stop()

    async def _start(self) -> str:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}/credentials"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.text() or "{}") | dict(request.query)
        self.asked.append({"method": request.method, "path": request.path, **asked})
        self.headers.append(dict(request.headers))
        if self.answers:
            return self.answers.pop(0)(asked)
        claimed = request.headers["Authorization"].removeprefix("Bearer token-of-")
        return web.json_response(vended(claimed))


def says(**answer: object) -> Answer:
    return lambda _: web.json_response(answer)


def fails(status: int, **headers: str) -> Answer:
    return lambda _: web.Response(status=status, headers=headers, text="AKIALEAK")


def raw(body: bytes, **headers: str) -> Answer:
    return lambda _: web.Response(body=body, headers=headers)


async def token_of(scope: Scope) -> str:
    return f"token-of-{scope.tenant or tenant_code(None)}"
