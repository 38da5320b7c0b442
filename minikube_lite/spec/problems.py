"""What is wrong with a manifest, and where: raised or returned by `spec`, shown by `api` and `cli`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a manifest, where a person can find it. Lines and columns count from 1; 0: not known."""

    message: str
    source: str = ""
    line: int = 0
    column: int = 0
    field: str = ""
    """`spec.containers[0].image`."""
    hint: str = ""

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.source, self.line, self.column) if part)
        field_ = f"{self.field}: " if self.field else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}: {field_}{self.message}{hint}" if where else f"{field_}{self.message}{hint}"


class InvalidManifest(Exception):
    """A manifest, or one document of it, cannot be used. The user's failure: never retried, always shown."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems
