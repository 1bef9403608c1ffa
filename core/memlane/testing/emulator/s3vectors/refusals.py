"""S3 Vectors' refusals, in its own words where they were seen [E], in moto's or ours elsewhere."""

from __future__ import annotations

from memlane.testing.emulator.failure import AwsError

__all__ = (
    "conflict",
    "constraint",
    "invalid",
    "invalid_filter",
    "invalid_record",
    "not_found",
    "not_serial",
    "throttled",
)


def invalid(message: str, *paths: str) -> AwsError:
    """Return a ValidationException; each path names a field that is at fault."""
    return AwsError("ValidationException", 400, message, tuple((path, message) for path in paths))


def constraint(path: str, rule: str, *, length: int | None = None, null: bool = False) -> AwsError:
    """Return what the service's model refuses, in the form its front end words it [E]."""
    value = f"Value with length {length}" if length is not None else "Value"
    value = "Value null" if null else value
    text = f"{value} at '{path}' failed to satisfy constraint: Member must {rule}"
    message = f"1 validation error detected. {text}"
    return AwsError("ValidationException", 400, message, ((path, text),))


def invalid_filter() -> AwsError:
    """Return the one answer to every bad filter [E]."""
    return invalid("Invalid filter", "filter")


def invalid_record(place: int, key: str, fault: str, *, part: str = "") -> AwsError:
    """Return the refusal of one vector of a put, and with it of all the others."""
    return invalid(f"Invalid record for key '{key}': {fault}", f"vectors[{place}]{part}")


def not_serial() -> AwsError:
    """Return the answer to JSON that cannot be read, a lone surrogate included [E]."""
    return AwsError("SerializationException", 400, "UnknownError")


def not_found(what: str) -> AwsError:
    """Return that an index [E] or a bucket is not there."""
    return AwsError("NotFoundException", 404, f"The specified {what} could not be found")


def conflict(message: str) -> AwsError:
    """Return that a name is taken, or a bucket not empty."""
    return AwsError("ConflictException", 409, message)


def throttled() -> AwsError:
    """Return that an index is written to too fast [M]; the words are ours."""
    return AwsError("TooManyRequestsException", 429, "Too many requests")
