"""Manifests as a person writes them, for the tests of the node."""

from __future__ import annotations


def pod_yaml(name: str, *, image: str = "host", command: str = "sleep inf", extra: str = "", meta: str = "") -> str:
    """A pod with one container, `app`. `extra`: more lines of the spec, `meta`: of the metadata, indented."""
    words = ", ".join(f'"{word}"' for word in command.split())
    return (
        "apiVersion: v1\n"
        "kind: Pod\n"
        "metadata:\n"
        f"  name: {name}\n"
        f"{meta}"
        "spec:\n"
        f"{extra}"
        "  containers:\n"
        "  - name: app\n"
        f"    image: {image}\n"
        f"    command: [{words}]\n"
    )


def with_typo(text: str) -> str:
    """The same with a field that does not exist."""
    return text.replace("  containers:\n", "  contianers: []\n  containers:\n", 1)
