"""Reads a manifest both ways, with models and without: what one says the other must say. For tests that read one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minikube_lite.spec.manifest import Manifest, read_manifest
from minikube_lite.spec.model import Model, to_json
from minikube_lite.spec.view import View, view_of


def read_both_ways(data: bytes, source: str, namespace: str = "default") -> Manifest:
    """The manifest with its pods."""
    full = read_manifest(data, source, default_namespace=namespace)
    light = read_manifest(data, source, default_namespace=namespace, build=False)
    assert light.problems == full.problems
    assert light.documents == tuple(replace(document, pod=None) for document in full.documents)
    for document in full.documents:
        kept = (document.pod, document.config, document.claim)
        assert any(found is not None for found in kept) == document.used
        if document.pod is not None:
            assert_alike(view_of(to_json(document.pod)), document.pod)
    return full


def assert_alike(view: Any, model: Any) -> None:
    """Every attribute of the model is the view's too."""
    if isinstance(model, Model):
        assert isinstance(view, View)
        assert set(vars(view)) == set(type(model).model_fields)
        for name in type(model).model_fields:
            assert_alike(getattr(view, name), getattr(model, name))
    elif isinstance(model, (tuple, list)):
        assert type(view) is type(model)
        assert len(view) == len(model)
        for ours, theirs in zip(view, model, strict=True):
            assert_alike(ours, theirs)
    elif isinstance(model, dict):
        assert set(view) == set(model)
        for key in model:
            assert_alike(view[key], model[key])
    else:
        assert (type(view), view) == (type(model), model)
