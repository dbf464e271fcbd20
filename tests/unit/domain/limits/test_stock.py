"""What one process has of a token bucket."""

from __future__ import annotations

from domain.limits.exchange import RateAnswer, RateAsk
from domain.limits.stock import Stock


def stocked(amount: float) -> Stock:
    stock = Stock()
    stock.answered(RateAnswer(held=amount), 0.0)
    return stock


def test_what_is_spent_while_the_table_answers_is_not_there_twice() -> None:
    stock = stocked(10.0)
    assert stock.ask(wanted=15.0).kept == 10.0
    stock.spend(4.0)
    stock.answered(RateAnswer(held=15.0), 0.0)
    assert stock.held == 11.0


def test_what_was_given_back_and_what_was_overspent_add_up_in_one_total() -> None:
    stock = stocked(10.0)
    stock.spend(8.0)
    stock.settle(8.0, 3.0)
    stock.give_back()
    assert stock.ask(0.0) == RateAsk(kept=0.0, wanted=0.0, credited=7.0)
    stock.settle(8.0, 20.0)
    assert stock.ask(0.0).credited == -5.0


def test_when_to_ask_again_is_reckoned_from_the_answer() -> None:
    stock = Stock()
    stock.answered(RateAnswer(held=1.0, ready_in_seconds=3.0), 100.0)
    assert stock.ready_at == 103.0
    assert stock.held == 1.0
    stock.lost()
    assert stock.lacks(0.5)
