-- One row per decision from which an erasure took a record's id: what the run's hash still counts it as.
-- Append-only. The decision stays, with the id of a tombstone in the place of the record's and without its nonce; hash_before cannot be
-- guessed without that nonce, which is kept nowhere. The hash over these rows is in the erasure's row of ledger.runs.
-- incoming(erasure_id, run_id, stage, position, hash_before, hash_after, redacted_at): the decisions an erasure touched; from ledger.decisions(record_id, matched_record_id)
select
  erasure_id::varchar as erasure_id,        -- the erasure
  run_id::varchar as run_id,                -- run of the decision
  stage::varchar as stage,                  -- its stage
  position::bigint as position,             -- its number within run and stage
  hash_before::varchar as hash_before,      -- SHA-256 of the row as it was written
  hash_after::varchar as hash_after,        -- SHA-256 of the row as it stands now
  redacted_at::timestamptz as redacted_at   -- when
from incoming
