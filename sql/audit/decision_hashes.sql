-- One row per decision since the ledger was chained, with its hash computed afresh and what it was written with.
-- $run_id: one run; null for all
-- $stage: one stage; null for all
with latest_redactions as (
  select run_id, stage, position, hash_before, max_by(hash_after, redacted_at) as hash_after
  from ledger.redactions
  group by all
),
hashed as (
  select
    run_id,
    stage,
    position,
    record_id,
    row_hash,
    sha256(json_array(
      run_id, stage, position, record_id, verdict, rule, printf('%.17g', value), printf('%.17g', threshold), matched_record_id,
      nonce::varchar
    )::varchar) as hash
  from ledger.decisions
  where position is not null
    and ($run_id::varchar is null or run_id = $run_id::varchar)
    and ($stage::varchar is null or stage = $stage::varchar)
)
select
  h.run_id,                                      -- the run
  h.stage,                                       -- the stage
  h.position,                                    -- number of the row within run and stage
  h.record_id,                                   -- our id of the record, or a tombstone's
  h.hash,                                        -- SHA-256 of the row as it stands
  coalesce(r.hash_before, h.hash) as counted_as, -- the hash that the run's decisions_hash is made of
  coalesce(
    h.hash = coalesce(r.hash_after, h.hash) and h.row_hash = try_cast('0x' || left(coalesce(r.hash_before, h.hash), 16) as ubigint), false
  ) as is_as_written  -- whether the row is what was written
from hashed as h
left join latest_redactions as r using (run_id, stage, position)
