"""A request's members, read with the constraints of the service's model [M]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from memlane.testing.emulator.s3vectors.refusals import constraint, not_serial

__all__ = (
    "Members",
    "chosen",
    "flag",
    "listed",
    "needed",
    "number",
    "objects",
    "page_size",
    "structure",
    "text",
    "texts",
)

Members: TypeAlias = Mapping[str, Any]


def text(
    body: Members, name: str, *, least: int = 1, most: int | None = None, path: str = ""
) -> str | None:
    """Return a string member, or None if it is not there."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise not_serial()
    if len(value) < least or (most is not None and len(value) > most):
        where = f"{path}/{name}"
        if most is None:
            raise constraint(where, f"have length greater than or equal to {least}")
        raise constraint(
            where, f"have length between {least} and {most}, inclusive", length=len(value)
        )
    return value


def needed(value: Any, name: str, *, path: str = "") -> Any:
    """Return a member that must be there."""
    if value is None:
        raise constraint(f"{path}/{name}", "not be null", null=True)
    return value


def chosen(body: Members, name: str, choices: tuple[str, ...], *, path: str = "") -> str | None:
    """Return a string member that is one of few."""
    value = text(body, name, least=0, path=path)
    if value is not None and value not in choices:
        known = ", ".join(choices)
        raise constraint(f"{path}/{name}", f"satisfy enum value set: [{known}]")
    return value


def number(body: Members, name: str, *, least: int, most: int | None = None) -> int | None:
    """Return an integer member, or None if it is not there."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise not_serial()
    if value < least or (most is not None and value > most):
        between = (
            f"be greater than or equal to {least}"
            if most is None
            else (f"be between {least} and {most}, inclusive")
        )
        raise constraint(f"/{name}", between)
    return value


def flag(body: Members, name: str) -> bool:
    """Return a boolean member; absent is false."""
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise not_serial()
    return value


def listed(
    body: Members, name: str, *, least: int = 0, most: int | None = None, path: str = ""
) -> list[object] | None:
    """Return a list member, or None if it is not there."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, list):
        raise not_serial()
    values = cast("list[object]", value)
    if len(values) < least or (most is not None and len(values) > most):
        raise constraint(
            f"{path}/{name}",
            f"have length between {least} and {most}, inclusive",
            length=len(values),
        )
    return values


def objects(
    body: Members, name: str, *, least: int = 0, most: int | None = None, path: str = ""
) -> list[Members] | None:
    """Return a list of objects, or None if it is not there."""
    values = listed(body, name, least=least, most=most, path=path)
    if values is not None and not all(isinstance(value, dict) for value in values):
        raise not_serial()
    return cast("list[Members] | None", values)


def texts(
    body: Members,
    name: str,
    *,
    least: int,
    most: int,
    longest: int,
) -> list[str] | None:
    """Return a list of strings, each of at least one character, or None if it is not there."""
    values = listed(body, name, least=least, most=most)
    for place, value in enumerate(values or ()):
        if not isinstance(value, str):
            raise not_serial()
        if not 1 <= len(value) <= longest:
            raise constraint(
                f"/{name}/{place}",
                f"have length between 1 and {longest}, inclusive",
                length=len(value),
            )
    return cast("list[str] | None", values)


def structure(body: Members, name: str) -> Members | None:
    """Return an object member, or None if it is not there."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise not_serial()
    return cast("Members", value)


def page_size(body: Members, *, default: int, most: int) -> int:
    """Return how many a page of a listing holds."""
    return number(body, "maxResults", least=1, most=most) or default
