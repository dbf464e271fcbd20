"""Which processes make up a system, and in which order they start."""

from pathlib import Path

import pytest

from penstock.plan import RolePlan, plan_roles, start_waves
from penstock.settings import Settings


def test_services_start_first_and_the_api_last(tmp_path: Path) -> None:
    waves = start_waves(plan_roles(Settings(data_dir=tmp_path)))
    names = [sorted(plan.name for plan in wave) for wave in waves]
    workers = ["agents-cpu", "agents-io", "agents-llm", "agents-media", "intake", "projector"]
    assert names == [["kafka", "postgres"], ["prepare"], workers, ["api"]]


def test_an_outer_kafka_and_database_replace_the_embedded_ones(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, kafka_bootstrap_servers="kafka:9092", database_url="postgresql://db/x")
    names = {plan.name for plan in plan_roles(settings)}
    assert names.isdisjoint({"kafka", "postgres"})
    assert "prepare" in names


def test_only_the_chosen_classes_get_agents(tmp_path: Path) -> None:
    names = {plan.name for plan in plan_roles(Settings(data_dir=tmp_path, start_classes=["cpu"]))}
    assert {name for name in names if name.startswith("agents-")} == {"agents-cpu"}


def test_stopping_everything_takes_less_than_ten_seconds(tmp_path: Path) -> None:
    waves = start_waves(plan_roles(Settings(data_dir=tmp_path)))
    assert (
        sum(max(plan.stop_seconds for plan in wave if not plan.is_step) for wave in waves if not wave[0].is_step) < 10
    )


def test_roles_that_need_one_another_in_a_circle_are_refused() -> None:
    circle = [RolePlan(name="a", command=(), needs=("b",)), RolePlan(name="b", command=(), needs=("a",))]
    with pytest.raises(ValueError, match="a, b"):
        start_waves(circle)
