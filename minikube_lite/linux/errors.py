"""How a failure travels from a forked child to the node: reason, message, errno. Used by everything that forks here."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Failure(Exception):
    """A request failed. `reason` is one word for programs (CreateError, StartError…), `message` a line for people."""

    def __init__(self, reason: str, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.reason, self.message, self.errno = reason, message, errno

    def to_json(self) -> dict[str, Any]:
        return {"reason": self.reason, "message": self.message, "errno": self.errno}


def describe(error: BaseException) -> str:
    """One line: the step that failed and why, without Python's `[Errno 2]`."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return str(error) or type(error).__name__


def as_failure(error: BaseException, reason: str = "CreateError") -> Failure:
    """Any exception as a Failure; one that is not the world's (OSError, ValueError) also names its type."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, OSError):
        return Failure(reason, describe(error), error.errno or 0)
    if isinstance(error, ValueError):
        return Failure(reason, describe(error))
    return Failure(reason, f"{type(error).__name__}: {describe(error)}")
