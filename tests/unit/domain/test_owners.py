"""Owners, some of them replaced without knowing it, act on one task and append to one log.

Each owner folded the log when it took over and since then has seen its own facts alone, as a real one does. Records
are repeated, and the submission of a run is read at any moment. Whatever happens, the log must fold without
corruption to at most one end a run, and a new owner must be able to bring the task to an end.
"""

from dataclasses import replace
from functools import reduce

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain import decide as commands
from domain.decide import OwnerCommand, decide, retry
from domain.errors import IllegalTransition
from domain.provider_errors import RATE_LIMITED
from domain.states import ACTIVE, RETRYABLE
from domain.task import TaskState, evolve, fold
from schemas.codec import encode
from schemas.events import TaskEvent, TaskSubmitted
from tests.support.given import AT, COMMANDS, TASK_ID, submitted

RUNS_MAX = 3
OWNERS = st.integers(0, 2)
#: Starts and hand-backs more often than the rest: most trouble begins with an attempt in two hands.
KINDS = st.sampled_from([commands.Start, commands.Release]) | st.sampled_from(
    sorted(COMMANDS, key=lambda kind: kind.__name__)
)
#: What the intake and the held-work service do, which own no shard and write with epoch 0.
WITHOUT_A_SHARD = (commands.Hold, commands.Cancel, commands.Expire)


class Owners(RuleBasedStateMachine):
    """The log of one task, and the states that its present and former owners believe in."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[TaskEvent] = []
        self.submissions: list[TaskSubmitted] = []
        self.owners: dict[int, TaskState] = {}

    @initialize(attempts_max=st.integers(1, 3), late=st.booleans())
    def submit(self, attempts_max: int, late: bool) -> None:
        """The projector may read the submission after what follows from it; an owner always has it."""
        submission = submitted(attempts_max=attempts_max)
        self.submissions.append(submission)
        if not late:
            self.log.append(submission)
        # Epoch 0 is the intake, which holds and cancels what is on no class topic yet.
        self.owners[0] = fold(TASK_ID, [submission])

    @rule()
    def take_over(self) -> None:
        """A new owner folds the log; before it writes, a former one may go on writing."""
        self.owners[max(self.owners) + 1] = self._found_by_a_new_owner()

    @rule(age=OWNERS, kind=KINDS, retryable=st.booleans(), code=st.sampled_from(["busy", RATE_LIMITED]))
    def act(self, age: int, kind: type[OwnerCommand], retryable: bool, code: str) -> None:
        """The present owner (age 0) or a former one does what it believes to be right."""
        epoch = sorted(self.owners)[-1 - min(age, len(self.owners) - 1)]
        command = replace(COMMANDS[kind], epoch=epoch)
        if isinstance(command, commands.Fail):
            command = replace(command, retryable=retryable, code=code)
        elif isinstance(command, commands.Hold):
            command = replace(command, submission=encode(self.submissions[-1]))
        if epoch > 0 or isinstance(command, WITHOUT_A_SHARD):
            self._append(epoch, command)

    @precondition(lambda self: self.log)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """A record that the log or its reader brings again."""
        self.log.append(data.draw(st.sampled_from(self.log)))

    @rule(data=st.data())
    def read_a_submission(self, data: st.DataObject) -> None:
        """The class topic is read at a pace of its own."""
        self.log.append(data.draw(st.sampled_from(self.submissions)))

    @precondition(lambda self: self._seen().status in RETRYABLE and len(self.submissions) < RUNS_MAX)
    @rule(age=OWNERS)
    def retry_by_hand(self, age: int) -> None:
        """The door asks for another run, and the owner of the shard reads it."""
        again = retry(self._seen(), AT)
        self.submissions.append(again)
        epoch = sorted(self.owners)[-1 - min(age, len(self.owners) - 1)]
        self.owners[epoch] = evolve(self.owners[epoch], again)

    def _seen(self) -> TaskState:
        return fold(TASK_ID, [*self.submissions, *self.log])

    def _found_by_a_new_owner(self) -> TaskState:
        return fold(TASK_ID, [*self.log, self.submissions[-1]])

    def _append(self, epoch: int, command: OwnerCommand) -> None:
        state = self.owners[epoch]
        try:
            facts = decide(command, state)
        except IllegalTransition:
            return
        for one in facts:
            self.log.append(one)
            state = evolve(state, one)
        self.owners[epoch] = state

    @invariant()
    def each_run_ends_at_most_once_and_stays_ended(self) -> None:
        state = TaskState(task_id=TASK_ID)
        for one in self.log:
            before, state = state, evolve(state, one)
            assert state.version >= before.version
            if before.terminal and state.run == before.run:
                told = ("submission", "submitted_at", "attempt", "priority", "model", "routing_key")
                assert state == replace(before, **{name: getattr(state, name) for name in told})

    @invariant()
    def repeats_change_nothing(self) -> None:
        state = fold(TASK_ID, self.log)
        assert fold(TASK_ID, [*self.log, *self.log]) == state
        assert fold(TASK_ID, [one for one in self.log for _ in range(2)]) == state

    @invariant()
    def the_budget_holds(self) -> None:
        state = self._seen()
        if state.submission is not None:
            assert 0 <= state.attempts_used <= state.submission.attempts_max

    @invariant()
    def a_new_owner_can_bring_it_to_an_end(self) -> None:
        state, epoch = self._found_by_a_new_owner(), max(self.owners) + 1
        if state.status in ACTIVE:
            state = _after(state, commands.Lose(at=AT, epoch=epoch))
        if state.attempts_left:
            state = _after(state, commands.Start(at=AT, epoch=epoch, worker="w"))
            state = _after(state, replace(COMMANDS[commands.Complete], epoch=epoch))
        elif not state.terminal:
            state = _after(state, commands.Fail(at=AT, epoch=epoch, code="spent", detail="", retryable=False))
        assert state.terminal


def _after(state: TaskState, command: OwnerCommand) -> TaskState:
    return reduce(evolve, decide(command, state), state)


TestOwners = Owners.TestCase
TestOwners.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
