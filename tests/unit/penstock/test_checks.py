"""What the doctor makes of what it finds."""

import pytest

from penstock import checks
from penstock.checks import EXTRAS, LOCKED_EXTRAS, judged
from penstock.settings import Settings
from projections.migrate import Revisions
from tests.support.services import REPOSITORY

KNOWN = frozenset({"0001", "0002"})


def test_a_database_at_the_newest_migration_is_well() -> None:
    assert judged(Revisions(applied="0002", head="0002", known=KNOWN)).state == "ok"


def test_a_database_without_tables_or_behind_is_mended_by_prepare() -> None:
    for applied in (None, "0001"):
        finding = judged(Revisions(applied=applied, head="0002", known=KNOWN))
        assert (finding.state, finding.remedy) == ("failing", "Run `penstock prepare`.")


def test_a_database_of_a_newer_penstock_cannot_be_mended_by_prepare() -> None:
    finding = judged(Revisions(applied="0003", head="0002", known=KNOWN))
    assert finding.state == "failing"
    assert "prepare" not in finding.remedy


def test_the_extras_called_locked_are_those_that_the_lock_is_made_with() -> None:
    recipe = (REPOSITORY / "Makefile").read_text()
    assert {extra for extra in EXTRAS if f"--extra {extra} " in recipe} == LOCKED_EXTRAS


async def test_a_missing_extra_says_whether_hashes_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "EXTRAS", dict.fromkeys(EXTRAS, "no_such_module"))
    for finding in await checks.extras(Settings()):
        locked = finding.subject.removeprefix("extra ") in LOCKED_EXTRAS
        assert ("make install" in finding.remedy) == locked
        assert ("no hash is checked" in finding.remedy) == (not locked)
