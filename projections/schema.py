"""All read models, and which of them the log alone decides."""

from __future__ import annotations

from sqlalchemy import Table

from projections.anomalies import ANOMALIES
from projections.attempts import ATTEMPTS
from projections.daily_statistics import DAILY_STATISTICS
from projections.dependants import WAITING_INDEX as WAITING_INDEX  # declares indexes of TASKS
from projections.held_tasks import HELD_INDEX as HELD_INDEX  # declares indexes of TASKS
from projections.history import HISTORY
from projections.offsets import OFFSETS, PROGRESS
from projections.queue_depth import QUEUE_DEPTH
from projections.tasks import TASKS

#: Tables that the same log, read up to the same offsets, always fills with the same rows.
DETERMINED: tuple[Table, ...] = (TASKS, ATTEMPTS, HISTORY, QUEUE_DEPTH, DAILY_STATISTICS, ANOMALIES, OFFSETS)
#: Everything in the schema; their indexes included, wherever they are declared.
TABLES: tuple[Table, ...] = (*DETERMINED, PROGRESS)
