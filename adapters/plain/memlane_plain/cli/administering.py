"""What is done for a tenant as a whole: onboard, users, stats, sweep, forget-tenant, reembed."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated, Any, Final

import typer

from memlane import ReembedPlan, ReembedReceipt
from memlane.prices import Prices
from memlane_plain.cli.options import FLAG, StoreCall, refuse, store_command
from memlane_plain.cli.output import Output, receipt_data
from memlane_plain.connection import connect_with, embedder_with

__all__ = ("forget_tenant", "onboard", "reembed", "stats", "sweep", "users")

_MANY: Final = 1_000
_LEAST_TOLD: Final = 0.01  # dollars; less is said to be less

_Tenant = Annotated[
    str | None,
    typer.Argument(metavar="[TENANT]", help="The customer, as in --tenant; none if left out."),
]
_NamedTenant = Annotated[
    str, typer.Argument(metavar="TENANT", help="The customer, as in --tenant.")
]
_User = Annotated[
    str | None,
    typer.Option(metavar="ID", help="With tenancy per-user, the user whose index it is."),
]
_Yes = Annotated[bool, typer.Option("--yes", "-y", metavar=FLAG, help="Do not ask.")]


def _nobody_there(out: Output) -> bool:
    return out.as_json or not sys.stdin.isatty()


@store_command
async def onboard(call: StoreCall, tenant: _NamedTenant, user: _User = None) -> None:
    """Make what a tenant needs before its first memory: on S3 Vectors, its index."""
    async with call.client(making=True) as client:
        admin = client.admin(tenant)
        made = await call.out.patiently("Onboarding", lambda: admin.onboard(user=user))
    if call.out.as_json:
        call.out.data({"tenant": tenant, "made": made})
    else:
        call.out.say(f"{tenant} is ready" if made else f"{tenant} was ready already")


@store_command
async def sweep(call: StoreCall, tenant: _Tenant = None, user: _User = None) -> None:
    """Delete a tenant's expired memories, which no call returns any more."""
    async with call.client() as client:
        admin = client.admin(tenant)
        deleted = await call.out.patiently("Sweeping", lambda: admin.sweep(user=user))
    if call.out.as_json:
        call.out.data({"tenant": tenant, "deleted": deleted})
    else:
        call.out.say(f"{deleted:,} expired memories deleted")


@store_command
async def users(call: StoreCall, tenant: _Tenant = None, user: _User = None) -> None:
    """List the users a tenant has memories of."""
    show = call.out.data if call.out.as_json else call.out.say
    async with call.client() as client:
        cursor: str | None = None
        while True:
            page = await client.admin(tenant).users(cursor=cursor, limit=_MANY, user=user)
            # As they come: a tenant may have a million.
            for name in page.items:
                show(name)
            if (cursor := page.cursor) is None:
                return


@store_command
async def stats(call: StoreCall, tenant: _Tenant = None, user: _User = None) -> None:
    """Count what a tenant has."""
    dollars: float | None = None
    async with call.client() as client:
        admin = client.admin(tenant)
        counted = await call.out.patiently("Counting", lambda: admin.stats(user=user))
        if call.settings.place is not None:
            dollars = Prices().month(counted, dimensions=client.space.dimensions)
    if call.out.as_json:
        data = dataclasses.asdict(dataclasses.replace(counted, spaces=dict(counted.spaces)))
        call.out.data({"tenant": tenant, **data, "dollars_month": dollars})
        return
    rows = {
        "users": f"{counted.users:,}",
        "memories": f"{counted.records:,}",
        "expired": f"{counted.expired:,}, for `memlane sweep`" if counted.expired else "0",
        "older versions": f"{counted.versions:,}",
        "vectors": f"{counted.vectors:,}",
        "text": f"{counted.text_bytes:,} bytes",
        "embedding": ", ".join(f"{name} ({n:,})" for name, n in counted.spaces.items()) or "-",
    }
    if dollars is not None:
        rows["to keep"] = f"{_dollars(dollars)} a month"
    call.out.rows(rows)


@store_command
async def forget_tenant(
    call: StoreCall, tenant: _NamedTenant, *, user: _User = None, yes: _Yes = False
) -> None:
    """Delete all a tenant has, of all its users, and prove it."""
    call.check_made()
    if not yes:
        if _nobody_there(call.out):
            refuse("forget-tenant cannot be undone and nobody is there to be asked", "give --yes")
        typed = typer.prompt(f"All users of {tenant!r} go for ever. Type its name", err=True)
        if typed != tenant:
            call.out.note("nothing was forgotten")
            raise typer.Exit(1)
    async with call.client() as client:
        admin = client.admin(tenant)
        receipt = await call.out.patiently("Forgetting", lambda: admin.forget_tenant(user=user))
    if call.out.as_json:
        call.out.data({"tenant": tenant, **receipt_data(receipt)})
    else:
        call.out.receipt(receipt)
    if receipt.failed or not receipt.verified_empty:
        raise typer.Exit(1)


@store_command
async def reembed(
    call: StoreCall,
    tenant: _Tenant = None,
    *,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help='The new model: "local" or one of Bedrock; else MEMLANE_EMBEDDING_MODEL.',
        ),
    ] = None,
    dimensions: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Components of its vectors.")
    ] = None,
    plan_only: Annotated[
        bool, typer.Option("--plan", metavar=FLAG, help="Only say what it will cost.")
    ] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", metavar=FLAG, help="Drop what an earlier one embedded.")
    ] = False,
    user: _User = None,
    yes: _Yes = False,
) -> None:
    """Take a tenant's memories to another embedding model.

    The cost is printed before it begins. Cut short, the same command goes on where it was.
    """
    out, settings = call.out, call.settings
    call.check_made()
    if not (yes or plan_only or abandon) and _nobody_there(out):
        refuse("nobody is there to be asked whether it may cost that", "give --yes, or --plan")
    told = {"embedding_model": model, "dimensions": dimensions}
    given: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
    target = dataclasses.replace(settings, aws=dataclasses.replace(settings.aws, **given))

    async with (
        embedder_with(target) as embedder,
        connect_with(settings, embedder=embedder) as client,
    ):
        admin = client.admin(tenant)
        if abandon:
            _say_abandoned(out, await admin.abandon_reembed(user=user))
            return
        plan = await out.patiently("Counting", lambda: admin.plan_reembed(embedder, user=user))
        if not out.as_json:
            out.rows(_plan_rows(plan, is_local=target.uses_local_model))
        if plan_only:
            if out.as_json:
                out.data(dataclasses.asdict(plan))
            return
        if not yes and not typer.confirm("Begin?", err=True):
            out.note("nothing was embedded")
            raise typer.Exit(1)
        with out.progress("Embedding", total=plan.records) as advance:
            receipt = await admin.reembed(
                embedder, on_progress=lambda progress: advance(progress.done), user=user
            )
        _say_done(out, plan, receipt)


def _say_abandoned(out: Output, was_begun: bool) -> None:
    if out.as_json:
        out.data({"abandoned": was_begun})
    else:
        out.say("dropped what was embedded" if was_begun else "nobody had begun")


def _say_done(out: Output, plan: ReembedPlan, receipt: ReembedReceipt) -> None:
    if out.as_json:
        data: dict[str, Any] = {"plan": dataclasses.asdict(plan)}
        out.data({**data, **dataclasses.asdict(receipt)})
        return
    out.say(f"{receipt.records:,} memories are in {receipt.space} now")
    out.note("clients of the old model are refused: set MEMLANE_EMBEDDING_MODEL where they run")


def _plan_rows(plan: ReembedPlan, *, is_local: bool) -> dict[str, str]:
    if plan.dollars is not None:
        cost = _dollars(plan.dollars)
    else:
        cost = "nothing, on this machine" if is_local else "not known for this model"
    rows = {
        "to": plan.space,
        "memories": f"{plan.records:,} to be embedded",
        "characters": f"{plan.characters:,}",
        "tokens": f"about {plan.tokens:,}",
        "cost": cost,
    }
    if plan.begun:
        rows["embedded"] = f"{plan.begun:,} by an earlier call"
    return rows


def _dollars(dollars: float) -> str:
    return f"about ${dollars:,.2f}" if dollars >= _LEAST_TOLD else "less than $0.01"
