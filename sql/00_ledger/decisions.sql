-- One row per decision: a stage kept a record, or one of its rules dropped it.
-- Append-only. A record that several rules drop has several rows; the decisions in force are ledger.current_decisions.
-- $stage: the asset that decided
-- $run_id: the Dagster run in which it did
-- incoming(record_id, verdict, rule, value, threshold, matched_record_id): the stage's verdicts
select
  record_id::varchar as record_id,                  -- our id of the record
  $stage::varchar as stage,                         -- the asset that decided
  verdict::varchar as verdict,                      -- 'keep' or 'drop'
  rule::varchar as rule,                            -- the rule that dropped it; empty where every rule let it pass
  value::double as value,                           -- what the rule measured on this record
  threshold::double as threshold,                   -- what the value was held against
  matched_record_id::varchar as matched_record_id,  -- the other record: for a duplicate, the copy that was kept
  $run_id::varchar as run_id                        -- the Dagster run; with the stage, the key of ledger.runs
from incoming
