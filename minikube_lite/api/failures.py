"""Failures as Kubernetes `Status` objects. Called by every module of this floor; `app` sends what is made here.

The source of codes, reasons and wording is k8s.io/apimachinery/pkg/api/errors: clients branch on `reason`.
"""

from __future__ import annotations

from collections.abc import Sequence

from minikube_lite.node.service import Json, ServiceError

REASONS = {
    400: "BadRequest",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    500: "InternalError",
}

NO_ROUTE = "the server could not find the requested resource"
NO_METHOD = "the server does not allow this method on the requested resource"


def status_failure(
    code: int,
    reason: str,
    message: str,
    *,
    kind: str = "",
    name: str = "",
    causes: Sequence[Json] = (),
) -> Json:
    """A `Status` of a failure; `kind` is the resource's plural name (`pods`), as Kubernetes has it there."""
    details: Json = {}
    if name:
        details["name"] = name
    if kind:
        details["kind"] = kind
    if causes:
        details["causes"] = list(causes)
    status: Json = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
    }
    if details:
        status["details"] = details
    status["code"] = code
    return status


def of_service_error(error: ServiceError, *, kind: str = "", name: str = "") -> Json:
    """`kind` and `name`: what the request was about, unless the error itself knows better."""
    if isinstance(error, ApiError) and error.kind:
        kind, name = error.kind, error.name
    return status_failure(error.code, error.reason, error.message, kind=kind, name=name, causes=error.causes)


def internal_error() -> Json:
    """Our own bug: the traceback goes to the log, not to the client."""
    message = "Internal error occurred: a bug in minikube-lite (hint: the node's log has the traceback)"
    return status_failure(500, REASONS[500], message)


class ApiError(ServiceError):
    """A ServiceError that knows which object it is about, where the path of the request does not tell."""

    def __init__(
        self, code: int, message: str, *, reason: str = "", causes: Sequence[Json] = (), kind: str = "", name: str = ""
    ) -> None:
        super().__init__(code, reason or REASONS[code], message, tuple(causes))
        self.kind = kind
        self.name = name


def failure(code: int, message: str) -> ApiError:
    """With the reason that goes with this code. To be raised."""
    return ApiError(code, message)


def bad_request(message: str) -> ApiError:
    return failure(400, message)


def invalid(kind: str, name: str, field: str, value: object, detail: str) -> ApiError:
    """422 as the API server words it for one field."""
    shown = f'"{value}"' if isinstance(value, str) else value
    message = f'{kind} "{name}" is invalid: {field}: Invalid value: {shown}: {detail}'
    cause = {"reason": "FieldValueInvalid", "message": f"Invalid value: {shown}: {detail}", "field": field}
    return ApiError(422, message, causes=[cause], kind=kind, name=name)
