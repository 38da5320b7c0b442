"""Manifests that others wrote are read as kubectl reads them, and each document has its expected verdict."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_lite.spec.manifest import read_manifest, without_document
from tests.spec.corpus import CORPUS, files, table, verdicts
from tests.spec.kubectl import needs_kubectl, objects

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the corpus is not beside the repository ({CORPUS})")
VERDICTS = table()


@needs_corpus
def test_every_file_of_the_corpus_has_its_verdict() -> None:
    assert files() == sorted(VERDICTS)


@needs_corpus
@pytest.mark.parametrize("file", sorted(VERDICTS))
def test_each_document_runs_is_skipped_or_is_refused_as_expected(file: str) -> None:
    assert verdicts(file) == VERDICTS[file]


@needs_corpus
@needs_kubectl
def test_kubectl_reads_the_same_objects() -> None:
    names = files()
    theirs, complaints = objects([(CORPUS / file).read_bytes() for file in names])
    ours: list[dict[str, Any]] = []
    for file in names:
        for document in read_manifest((CORPUS / file).read_bytes(), file).documents:
            assert document.raw, f"{file} cannot be read"
            ours.append(document.raw)
    # kubectl leaves out what it cannot annotate: an object without a name, a kind that needs a server to be known.
    left = [item for item in ours if item not in theirs]
    assert [item for item in theirs if item not in ours] == []
    assert len(left) <= 3, (left, complaints)


@needs_corpus
@pytest.mark.parametrize("file", sorted(VERDICTS))
def test_each_document_can_be_cut_out_and_leaves_the_others(file: str) -> None:
    data = (CORPUS / file).read_bytes()
    before = read_manifest(data, file).documents
    for index in range(len(before)):
        after = read_manifest(without_document(data, index), file).documents
        assert [item.raw for item in after] == [item.raw for number, item in enumerate(before) if number != index]
