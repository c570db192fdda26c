-- One row per stage that a release is made of, as it ran last, and whether a stage before it has run since.
-- An erasure of records counts as a stage before all but raw, so that what it left is not released before it is built again.
with stages as (
  select
    unnest(['raw', 'cleaned', 'deduped', 'filtered', 'embeddings', 'clusters', 'density', 'quality_scores', 'curated_set', 'eval_report']) as stage,
    unnest([0, 1, 2, 3, 4, 5, 5, 5, 6, 7]) as position
),
latest as (
  select r.*, s.position
  from ledger.runs as r
  join stages as s using (stage)
  qualify row_number() over (partition by stage order by r.finished_at desc) = 1
)
select
  stage,                              -- the stage
  code_version,                       -- version of its code
  config::varchar as config,          -- its configuration, defaults included
  config_hash,                        -- SHA-256 over code version and configuration
  notes::varchar as notes,            -- what it chose or measured by itself
  coalesce(finished_at < greatest(
    max(finished_at) over (order by position range between unbounded preceding and 1 preceding), if(position > 0, e.erased_at, null)
  ), false) as is_out_of_date         -- whether a stage before it has run, or records were erased, since
from latest
cross join (select max(finished_at) as erased_at from ledger.runs where stage = 'erasure' and rows_dropped > 0) as e
order by position, stage
