"""Failures that a person is shown. Raised all over cli; only `cli.main` prints them and turns them into exit codes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class CliError(Exception):
    """Something that could not be done. The message is printed as it stands, after `error: `."""

    code = 1
    prefix = "error: "

    def __str__(self) -> str:
        return self.prefix + str(self.args[0] if self.args else "")


class UsageError(CliError):
    """A command line that makes no sense."""


class ApiError(CliError):
    """The node answered with a failure, worded as kubectl does (pkg/cmd/util/helpers.go `StandardErrorMessage`)."""

    def __init__(self, http_code: int, reason: str, message: str, doing: str = "") -> None:
        super().__init__(message)
        self.http_code = http_code
        self.reason = reason
        self.doing = doing
        """`error when deleting "pod.yaml": `, where one of many things went wrong."""

    @property
    def prefix(self) -> str:  # type: ignore[override]
        where = f" ({self.reason})" if self.reason else ""
        return f"Error from server{where}: {self.doing}"

    @classmethod
    def of(cls, http_code: int, answer: Any) -> ApiError:
        """From the body of a failed request: a Kubernetes `Status`, or whatever else came."""
        if isinstance(answer, dict) and answer.get("kind") == "Status":
            code = int(answer.get("code") or http_code)
            return cls(code, str(answer.get("reason") or ""), str(answer.get("message") or "unknown"))
        return cls(http_code, "", f"the node answered with HTTP status {http_code}")


class Exit(Exception):
    """Leave with this exit code; everything there was to say has been said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
