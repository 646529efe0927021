"""Formats of stored documents: a fixture of each kind, read for ever; an unknown one stops with a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import envelope, progress
from pipeline.document import decode_document
from pipeline.errors import UnknownFormat
from pipeline.log.port import Position
from pipeline.stores.documents import FIELDS, Document, Saved
from pipeline.stores.sqlite import SqliteDocuments

DOCUMENTS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "fixtures" / "documents-1.json").read_text()
)


def test_there_is_a_fixture_of_every_kind() -> None:
    assert DOCUMENTS.keys() == FIELDS.keys() | {"alias", "internal event"}


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_documents_of_format_1_are_read_and_stored(name: str, tmp_path: Path) -> None:
    body = envelope.encode(DOCUMENTS[name])
    assert decode_document(body)["schema"] == 1
    documents = await SqliteDocuments.open(tmp_path / "documents.db")
    try:
        kind: Any = {"alias": "profile", "internal event": "event"}.get(name, name)
        (outcome,) = await documents.save([Document(kind, "x", 1, body)])
        assert outcome.result is Saved.DONE
    finally:
        await documents.close()


async def test_progress_of_format_1_is_read_and_a_newer_one_stops(tmp_path: Path) -> None:
    documents = await SqliteDocuments.open(tmp_path / "documents.db")
    try:
        id = progress.document_id("dest.crm", 1)
        body = {**DOCUMENTS["progress"], "group": "dest.crm", "partition": 1}
        await documents.save([Document("progress", id, 1, envelope.encode(body))])
        read = await progress.load(documents, "dest.crm", 1)
        assert (read.position, read.due, read.dead) == (Position(*body["position"]), body["due"], body["dead"])
        await documents.save([Document("progress", id, 2, envelope.encode({**body, "schema": 2}))])
        with pytest.raises(UnknownFormat, match="format 2"):
            await progress.load(documents, "dest.crm", 1)
    finally:
        await documents.close()


@pytest.mark.parametrize("found", [{"schema": 2}, {"schema": None}, {}])
def test_an_unknown_format_stops_with_one_sentence(found: dict[str, Any]) -> None:
    with pytest.raises(UnknownFormat, match="install the version that wrote it"):
        decode_document(envelope.encode(found))
