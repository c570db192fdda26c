-- One row per stage of a run: the hash over its decisions, computed afresh.
-- A tree of two levels: SHA-256 over the hashes of each 1,024 rows in their order, and over those in theirs. So no
-- set of other rows gives the same hash (as a sum or an exclusive or of row hashes would let one find), in bounded memory.
-- $run_id: one run; null for all
-- $stage: one stage; null for all
-- $last: count rows up to this number; null for all
with latest_redactions as (
  select distinct run_id, stage, position, hash_before from ledger.redactions
),
hashed as (
  select
    d.run_id,
    d.stage,
    d.position,
    coalesce(r.hash_before, sha256(json_array(
      d.run_id, d.stage, d.position, d.record_id, d.verdict, d.rule, printf('%.17g', d.value), printf('%.17g', d.threshold),
      d.matched_record_id, d.nonce::varchar
    )::varchar)) as hash
  from ledger.decisions as d
  left join latest_redactions as r using (run_id, stage, position)
  where d.position is not null
    and ($run_id::varchar is null or d.run_id = $run_id::varchar)
    and ($stage::varchar is null or d.stage = $stage::varchar)
    and ($last::bigint is null or d.position <= $last::bigint)
),
blocks as (
  select run_id, stage, (position - 1) // 1024 as block, count(*) as decisions, sha256(string_agg(hash, '' order by position, hash)) as hash
  from hashed
  group by all
)
select
  run_id,                           -- the run
  stage,                            -- the stage
  sum(decisions)::bigint as decisions,  -- its decisions
  sha256(string_agg(hash, '' order by block)) as decisions_hash  -- the hash over them
from blocks
group by run_id, stage
