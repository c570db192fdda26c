-- One row per withdrawal of a source or licence that was taken back: what it refused may be read again.
-- Append-only. What was erased stays erased; tombstones of other erasures stay in force.
-- incoming(erasure_id, lifted_by, reason, lifted_at): the withdrawals taken back
select
  erasure_id::varchar as erasure_id,      -- the erasure whose tombstones refuse nothing any more
  lifted_by::varchar as lifted_by,        -- what took it back; run_id of its row in ledger.runs
  reason::varchar as reason,              -- why, as given
  lifted_at::timestamptz as lifted_at     -- when
from incoming
