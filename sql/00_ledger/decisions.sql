-- One row per decision: a stage kept a record, or one of its rules dropped it.
-- Append-only. A record that several rules drop has several rows; the decisions in force are ledger.current_decisions.
-- Rows are numbered within their run and hashed; the run's row of ledger.runs holds the hash over all of them. The nonce makes that
-- hash tell nothing of a record once both are taken out of the row (see ledger.redactions).
-- $stage: the asset that decided
-- $run_id: the Dagster run in which it did
-- $decided: decisions the stage has written in this run before
-- $secret: drawn for one commit and forgotten after it: nonces are hashes of it and the row's number
-- incoming(record_id, verdict, rule, value, threshold, matched_record_id): the stage's verdicts
with numbered as (
  select
    record_id::varchar as record_id,
    verdict::varchar as verdict,
    rule::varchar as rule,
    value::double as value,
    threshold::double as threshold,
    matched_record_id::varchar as matched_record_id,
    $decided::bigint + row_number() over () as position
  from incoming
),
sealed as (
  select *, left(sha256($secret::varchar || position::varchar), 32)::uuid as nonce from numbered
)
select
  record_id,                 -- our id of the record; of an erased one, its tombstone
  $stage::varchar as stage,  -- the asset that decided
  verdict,                   -- 'keep' or 'drop'
  rule,                      -- the rule that dropped it; empty where every rule let it pass
  value,                     -- what the rule measured on this record
  threshold,                 -- what the value was held against
  matched_record_id,         -- the other record: for a duplicate, the copy that was kept
  $run_id::varchar as run_id,  -- the Dagster run; with the stage, the key of ledger.runs
  position,                  -- number of the row within its run and stage, from 1; null before the ledger was chained
  nonce,                     -- random; null before the ledger was chained, and where the row was redacted
  ('0x' || left(sha256(json_array(
    $run_id::varchar, $stage::varchar, position, record_id, verdict, rule, printf('%.17g', value), printf('%.17g', threshold),
    matched_record_id, nonce::varchar
  )::varchar), 16))::ubigint as row_hash  -- first 64 bits of the row's SHA-256: says which row was edited; the proof is the run's hash
from sealed
