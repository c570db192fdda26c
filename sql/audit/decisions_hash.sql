-- One row per stage of a run: the hash over its decisions, computed afresh.
-- A tree of two levels: SHA-256 over the hashes of each 1,024 rows in their order, and over those in theirs. So no
-- set of other rows gives the same hash (as a sum or an exclusive or of row hashes would let one find), in bounded memory.
-- $run_id: one run; null for all
-- $stage: one stage; null for all
-- $last: count rows up to this number; null for all
with latest_redactions as (
  select run_id, stage, position, hash_before, max_by(hash_after, redacted_at) as hash_after
  from ledger.redactions
  group by all
),
afresh as (
  select
    run_id,
    stage,
    position,
    row_hash,
    sha256(json_array(
      run_id, stage, position, record_id, verdict, rule, printf('%.17g', value), printf('%.17g', threshold), matched_record_id,
      nonce::varchar
    )::varchar) as hash
  from ledger.decisions
  where position is not null
    and ($run_id::varchar is null or run_id = $run_id::varchar)
    and ($stage::varchar is null or stage = $stage::varchar)
    and ($last::bigint is null or position <= $last::bigint)
),
hashed as (
  select
    a.run_id,
    a.stage,
    a.position,
    coalesce(r.hash_before, a.hash) as hash,
    coalesce(
      a.hash = coalesce(r.hash_after, a.hash) and a.row_hash = try_cast('0x' || left(coalesce(r.hash_before, a.hash), 16) as ubigint), false
    ) as is_as_written
  from afresh as a
  left join latest_redactions as r using (run_id, stage, position)
),
blocks as (
  select
    run_id,
    stage,
    (position - 1) // 1024 as block,
    count(*) as decisions,
    count(*) filter (not is_as_written) as edited,
    sha256(string_agg(hash, '' order by position, hash)) as hash
  from hashed
  group by all
)
select
  run_id,                           -- the run
  stage,                            -- the stage
  sum(decisions)::bigint as decisions,  -- its decisions
  sha256(string_agg(hash, '' order by block)) as decisions_hash,  -- the hash over them
  sum(edited)::bigint as edited     -- how many are not as they were written; sql/audit/decision_hashes.sql names them
from blocks
group by run_id, stage
