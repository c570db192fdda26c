-- One row per verdict a person gave on a record, or took back.
-- Append-only; the latest entry on a record is in force (sql/audit/overrides_in_force.sql). Each entry is a decision of stage `override`
-- in the ledger too, so an edited one shows (`curate verify --ledger`).
-- incoming(record_id, verdict, reason, decided_by, decided_at, run_id): what was said; from raw.records(record_id)
select
  record_id::varchar as record_id,          -- our id of the record
  verdict::varchar as verdict,              -- keep: no rule may drop it; drop: no stage may keep it; none: the rules decide again
  reason::varchar as reason,                -- why, in the person's words
  decided_by::varchar as decided_by,        -- who
  decided_at::timestamptz as decided_at,    -- when
  run_id::varchar as run_id                 -- its row of ledger.runs
from incoming
