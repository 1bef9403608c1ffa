"""Who speaks."""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    "Marta", "Jonas", "Priya", "Tomas", "Leila", "Oskar", "Ines", "Kwame", "Sofia", "Ruben",
    "Hana", "Emil", "Zainab", "Luca", "Greta", "Dario", "Nadia", "Piet", "Yara", "Anton",
)  # fmt: skip
