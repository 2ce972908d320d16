"""A setting under its former name works for one release, and says what it is called now."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse_assets.renamed_settings import FORMER_NAMES
from lakehouse_assets.settings import Settings, SettingsError, settings

NAME = "LAKEHOUSE_DEBOUNCE_SECONDS"
FORMER = FORMER_NAMES[NAME]


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in (NAME, FORMER):
        monkeypatch.delenv(name, raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_the_former_name_works_with_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORMER, "5")
    with pytest.warns(FutureWarning, match=f"{FORMER} is now called {NAME}"):
        assert settings().debounce_seconds == 5


def test_also_in_the_file_of_settings(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{FORMER}=6\n")
    with pytest.warns(FutureWarning, match=FORMER):
        assert settings().debounce_seconds == 6


def test_of_both_the_present_name_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORMER, "5")
    monkeypatch.setenv(NAME, "7")
    with pytest.warns(FutureWarning, match="It is ignored, because both are set"):
        assert settings().debounce_seconds == 7


def test_the_present_name_is_no_reason_for_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "7")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert settings().debounce_seconds == 7
    assert Settings(debounce_seconds=8).debounce_seconds == 8


def test_a_wrong_value_is_named_by_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "-1")
    with pytest.raises(SettingsError, match=f"^{NAME}: "):
        settings()
