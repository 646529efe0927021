"""Progress: the totals of a destination go on over its lives, the position does not."""

from pathlib import Path

from pipeline import progress
from pipeline.log.port import BEGINNING, Position
from pipeline.progress import Progress, of_life
from pipeline.stores.documents import Saved
from pipeline.stores.sqlite import SqliteDocuments


async def test_a_later_life_goes_on_with_the_totals_as_the_successor(tmp_path: Path) -> None:
    documents = await SqliteDocuments.open(tmp_path / "documents.db")
    try:
        first = Progress(
            group="dest.crm~1", partition=2, version=1, position=Position(0, 7), sequence=5, due=3, delivered=3
        )
        await documents.save([progress.document(first)])
        found = await progress.load(documents, "dest.crm~2", 2)
        assert found == first  # by whom it was saved is told
        assert of_life(found, "dest.crm~1") == first
        second = of_life(found, "dest.crm~2")
        assert (second.group, second.position, second.sequence) == ("dest.crm~2", BEGINNING, 0)
        assert (second.version, second.due, second.delivered) == (1, 3, 3)
        for one, result in ((second, Saved.DONE), (first, Saved.KEPT)):  # of two owners one counts, of whatever life
            body = progress.document(one)._replace(version=2)
            assert [outcome.result for outcome in await documents.save([body])] == [result]
    finally:
        await documents.close()


def test_the_progress_of_all_lives_is_one_document() -> None:
    ids = {progress.document_id(group, 0) for group in ("dest.crm", "dest.crm~1", "dest.crm~2")}
    assert ids == {"dest.crm:0"}  # as it was before groups had lives
    assert progress.document_id("dest.crm.x~1", 0) != progress.document_id("dest.crm~1", 0)
