-- One row per verdict a person gave on a record, or took back.
-- Append-only; the latest entry on a record is in force (sql/audit/overrides_in_force.sql). The hashes of the entries of a call are in the
-- notes of its row of ledger.runs, so an edited or removed entry shows (`curate verify --ledger`). An erasure removes a record's entries;
-- without the nonce their hashes tell nothing of it.
-- incoming(record_id, verdict, reason, decided_by, decided_at, run_id, nonce): what was said; from raw.records(record_id)
select
  record_id::varchar as record_id,          -- our id of the record
  verdict::varchar as verdict,              -- keep: no rule may drop it; drop: no stage may keep it; none: the rules decide again
  reason::varchar as reason,                -- why, in the person's words
  decided_by::varchar as decided_by,        -- who
  decided_at::timestamptz as decided_at,    -- when
  run_id::varchar as run_id,                -- its row of ledger.runs
  nonce::varchar as nonce,                  -- random
  sha256(json_array(
    record_id::varchar, verdict::varchar, reason::varchar, decided_by::varchar, epoch_us(decided_at::timestamptz), run_id::varchar, nonce::varchar
  )::varchar) as entry_hash                 -- SHA-256 of the entry
from incoming
