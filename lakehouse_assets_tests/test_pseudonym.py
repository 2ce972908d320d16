"""Where the key of pseudonyms comes from: the environment; on a machine of one's own a key of its home. No Spark."""

import os
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lakehouse_assets.cli.doctor import examine
from lakehouse_assets.platform.ingest.delivery import without_erased
from lakehouse_assets.platform.ingest.erasure import OtherKey, erased, remember
from lakehouse_assets.platform.ingest.pseudonyms import (
    Key,
    NoKey,
    development_key_file,
    ensure_development_key,
    key,
    pseudonym,
)
from lakehouse_assets.settings import Settings, settings

GIVEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An environment that says nothing but where the home is."""
    for name in [name for name in os.environ if name.startswith("LAKEHOUSE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


def test_a_home_makes_one_key_for_development_that_its_owner_alone_can_read(home: Path) -> None:
    with pytest.raises(NoKey, match="lakehouse dev"):
        pseudonym("somebody")
    assert ensure_development_key(settings())
    made = pseudonym("somebody")
    assert not ensure_development_key(settings()), "made once: pseudonyms must compare from run to run"
    assert pseudonym("somebody") == made
    assert re.fullmatch(r"dev-[0-9a-f]{8}", key(settings()).id)
    assert len(key(settings()).secret) >= 32
    assert stat.S_IMODE(development_key_file(settings()).stat().st_mode) == 0o600
    assert [file.name for file in home.iterdir()] == ["pseudonym.key"], "nothing is left behind"
    other = Settings(home=home.parent / "other")  # type: ignore[call-arg]
    assert ensure_development_key(other)
    assert key(other).secret != key(settings()).secret
    assert key(other).id != key(settings()).id, "pseudonyms of two homes do not compare, and say so"
    assert key(settings()).secret.decode() not in repr(key(settings()))


def test_a_key_that_is_given_is_the_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_development_key(settings())
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEY", GIVEN)
    assert key(Settings()) == Key("1", GIVEN.encode())  # type: ignore[call-arg]
    assert not ensure_development_key(Settings(home=home / "new"))  # type: ignore[call-arg]
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEY", "short")
    with pytest.raises(NoKey, match="too short"):
        key(Settings())  # type: ignore[call-arg]
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEY", "")
    assert key(Settings()).id.startswith("dev-"), "a line of .env that was not filled in says nothing"  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["LAKEHOUSE_SPARK_REMOTE", "LAKEHOUSE_WAREHOUSE_URL"])
def test_where_data_are_shared_no_key_for_development_is_made_or_taken(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ensure_development_key(settings())
    monkeypatch.setenv(name, "sc://somewhere:1")
    shared = Settings()  # type: ignore[call-arg]
    with pytest.raises(NoKey, match=r"LAKEHOUSE_PSEUDONYM_KEY in the environment.*no key for development"):
        key(shared)
    development_key_file(shared).unlink()
    assert not ensure_development_key(shared)
    assert "pseudonyms" in {finding.check for finding in examine(shared) if not finding.ok}
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEY", GIVEN)
    assert key(Settings()).id == "1"  # type: ignore[call-arg]


def test_the_doctor_says_which_key_there_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def message(ok: bool = True) -> str:
        return next(f.text for f in examine(Settings()) if f.check == "pseudonyms" and f.ok is ok)  # type: ignore[call-arg]

    assert "no key" in message()
    ensure_development_key(settings())
    assert "'dev-" in message()
    development_key_file(settings()).chmod(0o644)
    assert "chmod 600" in message(ok=False)
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEY", GIVEN)
    assert message() == "key '1' of the environment"
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEY", "short")
    assert "too short" in message(ok=False)


def test_the_erased_are_known_under_the_key_of_then_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_development_key(settings())
    before = {"pseudonym": pseudonym("a"), "erased_at": datetime(2024, 1, 1, tzinfo=UTC)}
    write_deltalake(str(home / "shop" / "_erased"), pa.Table.from_pylist([before]))
    remember(home, "shop", "b")
    remember(home, "shop", "b")
    assert erased(home, "shop") == {pseudonym("a"), pseudonym("b")}
    rows = pa.table({"who": ["a", "b ", "c", None]})
    assert without_erased(erased(home, "shop"), "who", rows)["who"].to_pylist() == ["c", None]
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEY", GIVEN)
    settings.cache_clear()
    with pytest.raises(
        OtherKey, match=r"1 subjects of shop were erased under the key 'dev-[0-9a-f]+', and now there is '1'"
    ):
        erased(home, "shop")
