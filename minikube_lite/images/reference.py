"""Says what an image reference means. Called by store; pure: reads no disk.

One rule, in this order:

1. `host` is the built-in image.
2. What begins with `/`, `./` or `../` (or is `.` or `..`) is a path; a relative one starts at the manifest's directory.
3. All else is the name of an image in a registry.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from minikube_lite.images.image import ImageError

HOST = "host"


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """An image that needs nothing but this machine."""

    name: str


@dataclass(frozen=True, slots=True)
class Local:
    """A directory or an archive at this absolute path; not normalised, so that the kernel decides what `..` means."""

    path: Path


@dataclass(frozen=True, slots=True)
class Remote:
    """An image in a registry, with Docker's defaults filled in (`nginx` is `docker.io/library/nginx:latest`)."""

    domain: str
    repository: str
    tag: str
    digest: str

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.domain}/{self.repository}{tag}{digest}"


# The grammar of github.com/distribution/reference (reference.go, regexp.go), which Docker and the kubelet use.
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?P<domain>{_DOMAIN})/)?(?P<repository>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?"
)
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


def parse(reference: str, base_dir: str | os.PathLike[str]) -> BuiltIn | Local | Remote:
    """What `reference` means in a manifest that lies in `base_dir` (absolute). Raises ImageError `InvalidImageName`."""
    if reference == HOST:
        return BuiltIn(HOST)
    if is_path(reference):
        if "\0" in reference:
            raise _invalid(reference, "a path cannot hold a NUL character")
        return Local(Path(os.path.join(base_dir, reference)))
    return remote(reference)


def is_path(reference: str) -> bool:
    """Whether the reference names something on this machine's disk, by its first characters alone."""
    return reference.startswith(("/", "./", "../")) or reference in (".", "..")


def remote(reference: str) -> Remote:
    """`reference` as the name of an image in a registry, also where it is `host`. Raises `InvalidImageName`."""
    if len(reference) > 1024:
        raise ImageError("InvalidImageName", f"`{reference[:40]}…` is not an image reference: it is too long")
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise _invalid(reference, _why(reference))
    domain, repository = match["domain"] or "", match["repository"]
    # The first word is a host only if it looks like one: `library/nginx` has none, `quay.io/a` and `localhost/a` have.
    if domain and not (any(c in domain for c in ".:[") or domain == "localhost" or domain != domain.lower()):
        domain, repository = "", f"{domain}/{repository}"
        if not re.fullmatch(rf"{_PART}(?:/{_PART})*", repository):
            raise _invalid(reference, _why(reference))
    if len(domain) + len(repository) + bool(domain) > 255:
        raise _invalid(reference, "the name is longer than 255 characters")
    if not domain and re.fullmatch(r"[0-9a-f]{64}", repository):
        raise _invalid(reference, "64 hexadecimal digits are an image ID, not a name")
    digest = match["digest"] or ""
    algorithm, _, encoded = digest.partition(":")
    if digest and (algorithm not in _DIGEST_LENGTHS or not re.fullmatch(r"[0-9a-f]+", encoded)):
        raise _invalid(reference, f"`{digest}` is not a digest: `sha256:` and 64 lower-case hexadecimal digits is")
    if digest and len(encoded) != _DIGEST_LENGTHS[algorithm]:
        raise _invalid(reference, f"a {algorithm} digest has {_DIGEST_LENGTHS[algorithm]} digits, not {len(encoded)}")
    if domain in ("", "index.docker.io"):
        domain = "docker.io"
    if domain == "docker.io" and "/" not in repository:
        repository = f"library/{repository}"
    return Remote(domain, repository, match["tag"] or ("" if digest else "latest"), digest)


def same_name(asked: str, name: str) -> bool:
    """Whether `asked` means the image that an archive calls `name`: its whole name, as Docker completes it, or tag."""
    if asked == name:
        return True
    try:
        there = remote(name)
        return there.tag == asked or str(remote(asked)) == str(there)
    except ImageError:
        return False


def _invalid(reference: str, why: str) -> ImageError:
    return ImageError("InvalidImageName", f"`{reference}` is not an image reference: {why}")


def _why(reference: str) -> str:
    """The likeliest reason that the grammar says no."""
    if not reference:
        return "it is empty"
    if reference != reference.strip():
        return "it begins or ends with white space"
    if reference.startswith("~"):
        return "`~` is not expanded in a manifest (hint: write the path from `/`, or from `./`)"
    if "://" in reference:
        scheme, rest = reference.split("://", 1)
        hint = rest if scheme == "file" or rest.startswith("/") else rest.lstrip("/")
        return f"an image has no `{scheme}://` before it (hint: `{hint}`)"
    if "\\" in reference:
        return "a path is written with `/`"
    if match := re.search(r"[^\x21-\x7e]", reference):
        return f"{match[0]!r} is not allowed in a name (hint: a path begins with `/`, `./` or `../`)"
    if reference != reference.lower() and _REFERENCE.fullmatch(reference.lower()):
        return f"the repository must be in lower case (hint: `{reference.lower()}`)"
    return "a registry name is `[host[:port]/]name[:tag][@digest]` (hint: a path begins with `/`, `./` or `../`)"
