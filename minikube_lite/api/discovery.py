"""What this API has, for clients that ask first (kubectl does). Routes for `app`."""

from __future__ import annotations

import platform

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from minikube_lite.api.context import Context
from minikube_lite.api.manifests import GROUP
from minikube_lite.api.negotiation import json_response
from minikube_lite.api.resources import PODS, RESOURCES, WRITABLE
from minikube_lite.node.service import Json

KUBERNETES = "1.32"
"""The version whose shapes this API has."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


def version_info(version: str) -> Json:
    """Kubernetes' `version.Info`; minikube-lite's own version is the build metadata of gitVersion (semver.org, 10)."""
    major, minor = KUBERNETES.split(".")
    machine = platform.machine()
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{KUBERNETES}.0+minikube-lite-{version}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": f"python{platform.python_version()}",
        "platform": f"linux/{_ARCHITECTURES.get(machine, machine)}",
    }


def resource_list() -> Json:
    """The APIResourceList of v1."""
    resources = []
    for resource in RESOURCES:
        entry: Json = {
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(resource.verbs),
            "shortNames": list(resource.short),
        }
        if resource.categories:
            entry["categories"] = list(resource.categories)
        resources.append(entry)
        if resource is PODS:
            resources += [
                _sub("exec", "PodExecOptions", "create", "get"),
                _sub("log", "Pod", "get"),
                _sub("status", "Pod", "get"),
            ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": resources}


def _sub(name: str, kind: str, *verbs: str) -> Json:
    return {"name": f"pods/{name}", "singularName": "", "namespaced": True, "kind": kind, "verbs": list(verbs)}


def openapi() -> Json:
    """OpenAPI v3 of v1, only as far as kubectl reads it: that writes take `fieldValidation`, so that it leaves
    validation to the node (k8s.io/cli-runtime/pkg/resource `QueryParamVerifier`)."""
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    paths: Json = {}
    schemas: Json = {}
    for resource in WRITABLE:
        kind = {"group": "", "version": "v1", "kind": resource.kind}
        write = {
            "parameters": [parameter],
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-group-version-kind": kind,
        }
        paths[f"/api/v1/namespaces/{{namespace}}/{resource.plural}/{{name}}"] = {"patch": write, "put": write}
        schemas[f"io.k8s.api.core.v1.{resource.kind}"] = {"type": "object", "x-kubernetes-group-version-kind": [kind]}
    return {
        "openapi": "3.0.0",
        "info": {"title": "minikube-lite", "version": f"v{KUBERNETES}.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def routes(context: Context) -> list[Route]:
    fixed: dict[str, Json] = {
        "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
        "/api/v1": resource_list(),
        GROUP: {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": GROUP.removeprefix("/apis/"),
            "resources": [],
        },
        "/version": version_info(context.node.version),
        "/openapi/v3": {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}}},
        "/openapi/v3/api/v1": openapi(),
    }

    async def answer(request: Request) -> Response:
        return json_response(fixed[request.scope["path"]])

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("ok")

    return [Route(path, answer) for path in fixed] + [
        Route(path, healthy) for path in ("/healthz", "/livez", "/readyz")
    ]
