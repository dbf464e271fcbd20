"""Settings: file, environment and flags, from weak to strong."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from domain.limits.limit import Limit
from domain.strategies.choice import StrategyChoice
from penstock.errors import SettingsError
from penstock.settings import CONFIG_ENV, DEFAULT_CLASSES, load


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "PENSTOCK_PORT", "PENSTOCK_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    # load() hands the file on by the environment, which must not leak into the next test.
    monkeypatch.setenv(CONFIG_ENV, "")


def written(folder: Path, text: str, name: str = "penstock.yaml") -> Path:
    """A settings file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, "port: 1001\nmax_queue_size: 7\n")
    assert load(file).port == 1001
    monkeypatch.setenv("PENSTOCK_PORT", "1002")
    assert load(file).port == 1002
    settings = load(file, port=1003)
    assert (settings.port, settings.max_queue_size) == (1003, 7)


def test_a_json_file_is_read_as_well(tmp_path: Path) -> None:
    file = written(tmp_path, json.dumps({"llm": {"n_ctx": 512}}), "penstock.json")
    assert load(file).llm.n_ctx == 512


def test_a_class_of_ones_own_joins_the_built_in_ones(tmp_path: Path) -> None:
    settings = load(written(tmp_path, "classes: {render: {slots: 3}, cpu: {window_size: 5}}"))
    assert set(settings.classes) == {*DEFAULT_CLASSES, "render"}
    assert settings.classes["render"].slots == 3
    assert (settings.classes["cpu"].window_size, settings.classes["cpu"].slots) == (5, DEFAULT_CLASSES["cpu"].slots)


def test_outer_services_are_found_under_their_usual_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hunter2@db/penstock")
    settings = load()
    assert settings.kafka_bootstrap_servers == "kafka:9092"
    assert settings.database_url == SecretStr("postgresql://user:hunter2@db/penstock")
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prot: 1", "prot"),
        ("port: many", "port"),
        ("classes: {Cpu!: {}}", "Cpu!"),
        ("- a list", "list"),
        ("port: [", "cannot be read"),
        ("start_classes: [nowhere]", "nowhere"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        load(written(tmp_path, text))


def test_a_wrong_value_is_not_repeated_since_it_may_be_a_secret(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(written(tmp_path, "llm: {api_key: {nested: hunter2}}"))
    assert "hunter2" not in str(caught.value)
    assert "api_key" in str(caught.value)


def test_lists_are_comma_separated_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_HANDLERS", "my_module, other")
    assert load().handlers == ["my_module", "other"]


def test_a_class_gives_the_first_word_on_its_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, "classes: {llm: {strategy: fair, strategy_options: {cost: seconds}}}\n")
    monkeypatch.setenv("PENSTOCK_CLASSES__CPU__STRATEGY_OPTIONS__AGEING_EVERY", "3")
    first = load(file).first_configuration
    assert first.strategy_of("llm") == StrategyChoice("fair", {"cost": "seconds"})
    assert first.strategy_of("cpu") == StrategyChoice("priority", {"ageing_every": 3})


def test_an_option_that_no_strategy_has_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "classes: {llm: {strategy_options: {aging_seconds: 3}}}\n")
    with pytest.raises(SettingsError, match="no option 'aging_seconds'"):
        load(file)


def test_limits_are_given_by_scope_and_name_and_hold_until_the_registry_says_otherwise(tmp_path: Path) -> None:
    limits = 'limits: {provider: {kimi: {concurrency: 3, tokens_per_minute: 1000}}, tenant: {"*": {concurrency: 2}}}\n'
    assert load(written(tmp_path, limits)).first_configuration.limits == {
        ("provider", "kimi"): Limit(concurrency=3, tokens_per_minute=1000),
        ("tenant", "*"): Limit(concurrency=2),
    }


@pytest.mark.parametrize("wrong", ["tenannt: {a: {concurrency: 1}}", "tenant: {a: {concurrency: 0}}"])
def test_a_limit_of_no_known_scope_or_of_nothing_is_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(SettingsError, match="limits"):
        load(written(tmp_path, f"limits: {{{wrong}}}\n"))


def test_a_lease_is_long_enough_to_be_renewed(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="limit_lease_seconds"):
        load(written(tmp_path, "limit_lease_seconds: 1\n"))


def test_keys_are_granted_by_file_and_by_environment_beside_the_well_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grants = load(written(tmp_path, 'provider_keys: {HOUSE_KEY: ["http://10.0.0.5:8000"], "*": []}\n')).key_grants
    assert grants.allows("HOUSE_KEY", "http://10.0.0.5:8000")
    assert grants.allows("OPENAI_API_KEY", "https://api.openai.com")
    assert not grants.allows("OPENAI_API_KEY", "http://127.0.0.1:1")
    monkeypatch.setenv(CONFIG_ENV, "")
    monkeypatch.setenv("PENSTOCK_PROVIDER_KEYS__HOUSE_KEY", "a.example, http://b.example")
    monkeypatch.setenv("PENSTOCK_PROVIDER_KEYS__OPENAI_API_KEY", "proxy.example")
    grants = load().key_grants
    assert grants.allows("HOUSE_KEY", "https://a.example")
    assert grants.allows("HOUSE_KEY", "http://b.example")
    assert grants.allows("OPENAI_API_KEY", "https://proxy.example")
    assert not grants.allows("OPENAI_API_KEY", "https://api.openai.com")


def test_what_the_settings_themselves_send_is_granted_and_reaches_the_workers(tmp_path: Path) -> None:
    llm = {
        "providers": [{"name": "h", "base_url": "http://10.0.0.5:8000/v1", "api_key": "env:HOUSE_KEY"}],
        "models": [
            {"name": "m", "provider": "h"},
            {"name": "n", "replicas": [{"base_url": "http://10.0.0.6/v1", "api_key": "env:TOKEN"}]},
        ],
    }
    grants = load(written(tmp_path, json.dumps({"llm": llm}))).for_handlers().key_grants
    assert grants.allows("HOUSE_KEY", "http://10.0.0.5:8000")
    assert grants.allows("TOKEN", "http://10.0.0.6")
    assert not grants.allows("HOUSE_KEY", "http://10.0.0.6")


@pytest.mark.parametrize("wrong", ["https://a.example/v1", "a b", "user@a.example"])
def test_a_key_is_granted_to_addresses_only(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"provider_keys.*write host, host:port or http://host:port"):
        load(written(tmp_path, f'provider_keys: {{A_KEY: ["{wrong}"]}}\n'))


def test_a_map_in_the_environment_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_PROVIDER_KEYS", "HOUSE_KEY=a.example")
    with pytest.raises(SettingsError, match='"provider_keys"'):
        load()
