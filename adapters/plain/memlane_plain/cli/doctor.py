"""`memlane doctor`: what stands in the way, and what to do about it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, TypeAlias
from urllib.parse import quote

import anyio
import numpy as np
import typer

from memlane import MemlaneError, Scope
from memlane.local import MiniLMEmbedder
from memlane.local.sqlite.integrity import problems
from memlane_plain.cli.info import size
from memlane_plain.cli.options import FLAG, StoreCall, store_command, store_file
from memlane_plain.cli.output import Output
from memlane_plain.cli.verdict import Verdict
from memlane_plain.connection import connect_with
from memlane_plain.settings import Settings

__all__ = ("doctor",)

_OLDEST_PYTHON: Final = (3, 11)
_OLDEST_SQLITE: Final = (3, 37, 0)
_ENOUGH_BYTES: Final = 200_000_000
_GOLDEN_TEXT: Final = "I moved to Lisbon in March and started a job at a bakery."
# The first components of its vector. int8 kernels differ a little between processors.
_GOLDEN: Final = (
    *(0.058, -0.0, 0.031, 0.049, -0.021, 0.056, -0.05, -0.026, -0.065, -0.038, 0.078),
    *(-0.076, -0.107, -0.036, -0.067, -0.031, 0.031, -0.014, 0.012, -0.018, -0.026, -0.054),
    *(-0.062, 0.009, 0.023, 0.058, 0.055, 0.013, -0.023, -0.035, -0.035, -0.032),
)
_CLOSE: Final = 0.97
_SHOWN: Final = 5


def _program(settings: Settings) -> Iterator[Verdict]:
    python = sys.version_info[:3]
    yield Verdict(
        "python",
        python >= _OLDEST_PYTHON,
        ".".join(map(str, python)),
        "use Python 3.11 or newer",
    )
    yield Verdict(
        "sqlite",
        sqlite3.sqlite_version_info >= _OLDEST_SQLITE,
        sqlite3.sqlite_version,
        "use a Python that was built with SQLite 3.37 or newer",
    )
    if not settings.uses_local_model:
        return
    missing = [name for name in ("onnxruntime", "tokenizers") if find_spec(name) is None]
    yield Verdict(
        "extra local",
        not missing,
        f"without {', '.join(missing)}" if missing else "installed",
        "pip install 'memlane[local]'",
    )


async def _model() -> Verdict:
    remedy = "reinstall memlane: pip install --force-reinstall 'memlane[local]'"
    embedder = MiniLMEmbedder(threads=1)
    try:
        row = (await embedder.embed([_GOLDEN_TEXT], purpose="document"))[0]
    except MemlaneError as error:
        return Verdict.of("model", error, remedy)
    finally:
        await embedder.aclose()
    golden, mine = np.array(_GOLDEN), row[: len(_GOLDEN)].astype(np.float64)
    cosine = float(golden @ mine / (np.linalg.norm(golden) * np.linalg.norm(mine)))
    found = f"{embedder.space.model}, golden sentence at {cosine:.3f}"
    return Verdict("model", cosine >= _CLOSE, found, remedy)


def _folder(path: Path) -> Iterator[Verdict]:
    folder = path.absolute().parent
    there = next(one for one in (folder, *folder.parents) if one.exists())
    usable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    found = str(folder) if there == folder else f"{folder}, to be made in {there}"
    remedy = f"make {there} a folder you may write to, or give another --url"
    yield Verdict("folder", usable, found if usable else f"{found}: not writable", remedy)
    free = shutil.disk_usage(there).free
    yield Verdict("free disk", free >= _ENOUGH_BYTES, size(free), "free at least 200 MB")


def _permissions(path: Path) -> Verdict:
    mode = stat.S_IMODE(path.stat().st_mode)
    private = os.name == "nt" or not mode & 0o077
    found = f"{mode:04o}, {'yours alone' if private else 'open to other accounts'}"
    return Verdict("permissions", private, found, f"chmod 600 {path}")


def _writable(path: Path) -> Verdict:
    remedy = "make the file and its folder writable, and end what keeps it locked"
    if not os.access(path, os.W_OK):
        return Verdict("writable", False, "the file is read-only", remedy)
    try:
        uri = f"file:{quote(str(path))}?mode=rw"
        with closing(sqlite3.connect(uri, timeout=1, uri=True, isolation_level=None)) as connection:
            connection.execute("begin immediate")  # taken and let go of: nothing is written
            connection.execute("rollback")
            [(verdict,)] = connection.execute("pragma quick_check(1)").fetchall()
    except sqlite3.Error as exc:
        return Verdict("writable", False, str(exc), remedy)
    if verdict != "ok":
        return Verdict("writable", False, "damaged", "restore it from a backup")
    return Verdict("writable", True, "yes, and sound")


def _records(path: Path) -> Verdict:
    """Read every record: minutes for a store of gigabytes."""
    remedy = "restore it from a backup, or delete the records that are named"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            wrong = problems(connection, most=_SHOWN + 1)
    except sqlite3.Error as exc:
        return Verdict("records", False, str(exc), remedy)
    if not wrong:
        return Verdict("records", True, "each agrees with the rows that find it")
    more = "; and more" if len(wrong) > _SHOWN else ""
    return Verdict("records", False, f"{'; '.join(wrong[:_SHOWN])}{more}", remedy)


async def _store(settings: Settings, *, deep: bool) -> list[Verdict]:
    try:
        client = connect_with(settings)
    except MemlaneError as error:
        return [Verdict.of("store", error)]
    async with client:
        path = store_file(settings.url)
        if path is None:
            return [Verdict("store", True, f"{settings.url}, gone when its process ends")]
        checks = list(_folder(path))
        if not path.exists():
            return [*checks, Verdict("store", True, f"{path}, made by the first store")]
        tenant = "memlane-doctor" if settings.tenancy in {"required", "per-user"} else None
        try:
            # Nobody's scope: this reads the file, and no memory.
            await client.count(scope=Scope("memlane-doctor", tenant=tenant))
        except MemlaneError as error:
            return [*checks, Verdict.of("store", error)]
        found = f"{path}, {size(path.stat().st_size)}, readable"
        checks += [Verdict("store", True, found), _writable(path), _permissions(path)]
        return [*checks, await anyio.to_thread.run_sync(_records, path)] if deep else checks


async def _examine(settings: Settings, *, deep: bool, tenant: str | None) -> list[Verdict]:
    found = list(_program(settings))
    if settings.uses_local_model:
        found.append(await _model())
    if settings.uses_aws:
        # Imports what is signed and sent with, which a local store may be without.
        from memlane_plain.cli.cloud_checks import cloud_checks  # noqa: PLC0415

        found += [one async for one in cloud_checks(settings, tenant=tenant)]
    if settings.place is None:
        found += await _store(settings, deep=deep)
    return found


_Deep: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--deep", metavar=FLAG, help="Read every record too, and see that its rows agree."
    ),
]


_Tenant: TypeAlias = Annotated[
    str | None, typer.Option(metavar="ID", help="In AWS, see that this customer is ready.")
]


@store_command
async def doctor(call: StoreCall, deep: _Deep = False, tenant: _Tenant = None) -> None:
    """Check Python, the model and the store, and say what to do."""
    out = call.out
    checks = await out.patiently(
        "Checking", lambda: _examine(call.settings, deep=deep, tenant=tenant)
    )
    ok = all(check.ok for check in checks)
    if out.as_json:
        shown = [asdict(one) | {"remedy": None if one.ok else one.remedy} for one in checks]
        out.data({"ok": ok, "checks": shown})
    else:
        _show(out, checks)
    if not ok:
        raise typer.Exit(1)


def _show(out: Output, checks: list[Verdict]) -> None:
    for one in checks:
        out.say(out.mark(good=one.ok), f" {one.name}: {one.found}")
        if not one.ok and one.remedy:
            out.say(one.remedy, indent=2)
    wrong = sum(not one.ok for one in checks)
    out.say(f"\n{wrong} of {len(checks)} checks failed" if wrong else "\nall is well")
