"""`memlane info`: where memory lives, what keeps it, and how much of it there is."""

from __future__ import annotations

import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from memlane import TenantNotOnboardedError
from memlane.calibration import MEASURED, RELEVANT, Calibration, calibrate
from memlane_plain.cli.options import FLAG, Call, command
from memlane_plain.connection import connect_with, embedder_with
from memlane_plain.settings import Settings

__all__ = ("info", "size", "versions")

_PACKAGES: Final = (
    *("memlane", "numpy", "anyio", "onnxruntime", "tokenizers", "typer", "rich"),
    *("aioboto3", "aiobotocore", "botocore", "httptools", "orjson"),
)
_KILO: Final = 1000


def size(count: int) -> str:
    """Return a number of bytes as people write it."""
    amount, units = float(count), ["B", "kB", "MB", "GB"]
    while amount >= _KILO and len(units) > 1:
        amount /= _KILO
        units.pop(0)
    return f"{amount:.0f} {units[0]}" if units[0] == "B" else f"{amount:,.1f} {units[0]}"


def versions() -> dict[str, str]:
    """Return what is installed of what memlane runs on."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _file(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    log = path.with_name(f"{path.name}-wal")
    return {
        "path": str(path.absolute()),
        "exists": path.is_file(),
        "bytes": sum(one.stat().st_size for one in (path, log) if one.is_file()),
    }


async def _measured(settings: Settings) -> Calibration:
    async with embedder_with(settings) as embedder:
        return await calibrate(embedder)


def _cloud(settings: Settings, index: str | None) -> dict[str, str | None] | None:
    """Return what can be told of a store or a model in AWS, and no secret."""
    if not settings.uses_aws:
        return None
    aws, place = settings.aws, settings.place
    told = {"region": aws.region, "host_credentials": aws.host_kind}
    told["endpoint"] = aws.endpoint_urls.get("s3vectors", aws.endpoint_urls.get("*"))
    if place is not None:
        told["bucket"] = place.bucket
        told["indexes"] = "one per user" if settings.tenancy == "per-user" else "one per tenant"
        told["tenant_credentials"] = f"a session of {aws.role_arn}" if aws.role_arn else None
        if place.index is not None:
            told["indexes"] = f"{place.index}, for all"
            told["tenant_credentials"] = None
        told["index"] = index
    return told


def _similarity(known: Calibration | None, *, measured: bool) -> dict[str, Any] | None:
    if known is None:
        return None
    return {
        "unrelated": round(known.unrelated, 3),
        "paraphrase": round(known.paraphrase, 3),
        "measured": measured,
        "relevant": {
            "relevance": RELEVANT,
            "similarity": round(known.similarity_at(RELEVANT), 3),
        },
    }


@command
async def info(
    call: Call,
    *,
    measure: Annotated[
        bool, typer.Option("--measure", metavar=FLAG, help="Measure the model's similarities here.")
    ] = False,
) -> None:
    """Show store, model and versions; with --user also a count."""
    file = _file(call.file)
    total: int | None = None
    index: str | None = None
    async with connect_with(call.settings) as client:
        space, can = client.space, client.capabilities
        if call.user is not None or call.tenant is not None:
            scope = call.scope
            total = 0
            if file is None or file["exists"]:
                try:
                    total = await call.out.patiently("Counting", lambda: client.count(scope=scope))
                    index = "there"
                except TenantNotOnboardedError as error:
                    index = f"not made yet; {error.remedy}"
    cloud = _cloud(call.settings, index)
    known = MEASURED.get(space.id)
    if measure:
        known = await call.out.patiently("Measuring", lambda: _measured(call.settings))
    if call.out.as_json:
        call.out.data(
            {
                "url": call.settings.url,
                "file": file,
                "aws": cloud,
                "backend": {
                    "name": can.name,
                    "exact": can.exact,
                    "atomic_conditions": can.atomic_conditions,
                    "max_batch": can.max_batch,
                    "isolation": can.isolation,
                },
                "tenancy": call.settings.tenancy,
                "space": {"id": space.id, "model": space.model, "dimensions": space.dimensions},
                "similarity": _similarity(known, measured=measure),
                "count": total,
                "versions": versions(),
            }
        )
        return
    rows = {"store": call.settings.url}
    if file is not None:
        rows["size"] = size(file["bytes"]) if file["exists"] else "not made yet; store something"
    rows |= {name.replace("_", " "): told for name, told in (cloud or {}).items() if told}
    rows |= {
        "backend": f"{can.name}, {'exact' if can.exact else 'approximate'} search",
        "isolation": "by credentials"
        if can.isolation == "credentials"
        else "by memlane's own checks",
        "tenancy": call.settings.tenancy,
        "model": f"{space.model}, {space.dimensions} dimensions",
    }
    if known is not None:
        rows["similarity"] = (
            f"unrelated texts: {known.unrelated:.2f}, paraphrases: {known.paraphrase:.2f} "
            f"(median, {'measured here' if measure else 'as published; --measure repeats it'})"
        )
        rows["relevance"] = (
            f"below {RELEVANT} nothing is to the matter: without shared words, a similarity "
            f"below {known.similarity_at(RELEVANT):.2f}"
        )
    if total is not None:
        rows["memories"] = f"{total:,}"
    rows["versions"] = ", ".join(f"{name} {number}" for name, number in versions().items())
    call.out.rows(rows)
