"""How the command line ends when nobody foresaw why."""

import pytest

from penstock import cli


def test_a_bug_is_not_taken_for_an_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """1 is what commands answer with: `replay --verify` for a difference, `submit --wait` for a failed task."""

    def broken() -> None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == cli.BUG_STATUS
    assert "nobody foresaw this" in capsys.readouterr().err
