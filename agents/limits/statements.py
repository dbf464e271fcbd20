"""What is said to PostgreSQL in one exchange. Limits are given as two arrays, rows as JSON.

An exchange is two messages, each of several statements. A message is all that PostgreSQL needs to get on, so that it
never waits for the rest of one with a lock in its hand; between the two, it ends the transaction of whoever is silent.
"""

from __future__ import annotations

from typing import Final

#: To hear when it is worth asking again; the payload is who said so.
LISTEN: Final = "LISTEN penstock_limits"

#: Whatever is known of a limit hangs on its row, which is its lock too.
NOTE_LIMITS: Final = """
    INSERT INTO coordination.limits (scope, name) SELECT * FROM unnest(%s::text[], %s::text[]) ON CONFLICT DO NOTHING
"""
#: In one order for all, so that no two exchanges wait for one another.
LOCK_LIMITS: Final = """
    SELECT * FROM coordination.limits
    WHERE (scope, name) IN (SELECT * FROM unnest(%s::text[], %s::text[])) ORDER BY scope, name FOR UPDATE
"""
#: A statement of its own, after the lock: so it sees what those have written who had the lock before.
READ_LEASES: Final = """
    SELECT * FROM coordination.leases WHERE (scope, name) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
#: Read after all that: a lease that is given now ends no earlier than its holder reckons.
NOW: Final = "SELECT extract(epoch FROM clock_timestamp())::double precision AS now"
WRITE_LEASES: Final = """
    INSERT INTO coordination.leases SELECT * FROM jsonb_populate_recordset(null::coordination.leases, %s)
    ON CONFLICT (scope, name, holder) DO UPDATE SET
        (serial, granted, wanted, served_at,
         request_held, request_wanted, request_credited, request_waiting_since,
         token_held, token_wanted, token_credited, token_waiting_since, expires_at)
        = (excluded.serial, excluded.granted, excluded.wanted, excluded.served_at,
           excluded.request_held, excluded.request_wanted, excluded.request_credited, excluded.request_waiting_since,
           excluded.token_held, excluded.token_wanted, excluded.token_credited, excluded.token_waiting_since,
           excluded.expires_at)
"""
WRITE_BUCKETS: Final = """
    UPDATE coordination.limits AS known SET
        (request_level, request_level_at, token_level, token_level_at)
        = (given.request_level, given.request_level_at, given.token_level, given.token_level_at)
    FROM jsonb_populate_recordset(null::coordination.limits, %s) AS given
    WHERE (known.scope, known.name) = (given.scope, given.name)
"""
DELETE_IDLE: Final = """
    DELETE FROM coordination.leases
    WHERE (scope, name) IN (SELECT * FROM unnest(%s::text[], %s::text[])) AND holder = %s
"""
DELETE_EXPIRED: Final = """
    DELETE FROM coordination.leases
    WHERE (scope, name) IN (SELECT * FROM unnest(%s::text[], %s::text[])) AND expires_at <= %s
"""
BLOCK: Final = """
    INSERT INTO coordination.blocked_providers (name, until)
    SELECT * FROM unnest(%s::text[], %s::double precision[])
    ON CONFLICT (name) DO UPDATE SET until = greatest(coordination.blocked_providers.until, excluded.until)
"""
BLOCKED: Final = "SELECT name, until - %s AS seconds FROM coordination.blocked_providers WHERE until > %s"
#: Whoever probed and failed has the last word; else the later end counts, and whoever may probe goes on.
OPENED: Final = """
    INSERT INTO coordination.circuits AS known (name, until, times)
    SELECT * FROM unnest(%s::text[], %s::double precision[], %s::int[])
    ON CONFLICT (name) DO UPDATE SET (until, times, prober) = (
        SELECT CASE WHEN probed THEN excluded.until ELSE greatest(known.until, excluded.until) END,
               CASE WHEN probed THEN excluded.times ELSE greatest(known.times, excluded.times) END,
               CASE WHEN probed THEN NULL ELSE known.prober END
        FROM (SELECT coalesce(known.prober = %s, false) AS probed) AS said
    )
"""
CLOSED: Final = "DELETE FROM coordination.circuits WHERE name = ANY(%s::text[]) AND prober = %s"
#: The row's lock decides between two that ask at once: the second one sees what the first has written.
PROBE: Final = """
    UPDATE coordination.circuits SET prober = %s, until = %s
    WHERE name = ANY(%s::text[]) AND (until <= %s OR prober = %s)
"""
FORGET_CIRCUITS: Final = "DELETE FROM coordination.circuits WHERE until < %s"
CIRCUITS: Final = """
    SELECT name, until - %s AS seconds, times, coalesce(prober = %s, false) AS mine FROM coordination.circuits
"""
TELL: Final = "SELECT pg_notify('penstock_limits', %s)"
#: The first message: its parameters are the limits, three times.
BEGIN: Final = ";".join(("BEGIN", NOTE_LIMITS, LOCK_LIMITS, READ_LEASES, NOW))
#: The end of the second one.
END: Final = "COMMIT"
