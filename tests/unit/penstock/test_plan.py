"""Which processes make up a system, and in which order they start."""

from pathlib import Path

import pytest

from penstock.plan import RolePlan, layers, plan_roles
from penstock.settings import Settings


def test_services_come_first_and_the_api_stops_first(tmp_path: Path) -> None:
    grouped = layers(plan_roles(Settings(data_dir=tmp_path)))
    names = [sorted(plan.name for plan in layer) for layer in grouped]
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
    working = [layer for layer in layers(plan_roles(Settings(data_dir=tmp_path))) if not layer[0].is_step]
    assert sum(max(plan.stop_seconds for plan in layer) for layer in working) < 10


def test_roles_that_need_one_another_in_a_circle_are_refused() -> None:
    circle = [RolePlan(name="a", command=(), needs=("b",)), RolePlan(name="b", command=(), needs=("a",))]
    with pytest.raises(ValueError, match="a, b"):
        layers(circle)
