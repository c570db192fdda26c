-- One row per stage and rule of the latest runs: how many records came in, were dropped, were kept.
-- A record that several rules drop counts under each of them, so the rules of a stage may add up to more than it drops.
with stages as (
  select unnest(['raw', 'cleaned', 'deduped', 'filtered', 'curated_set']) as stage, unnest(range(5)) as position
),
latest as (
  select r.*, s.position
  from ledger.runs as r
  join stages as s using (stage)
  qualify row_number() over (partition by stage order by r.finished_at desc) = 1
),
dropped as (
  select stage, rule, count(distinct record_id) as records
  from ledger.current_decisions
  where verdict = 'drop'
  group by stage, rule
)
select
  r.stage,                      -- the stage
  r.rows_in,                    -- records it was given
  r.rows_dropped,               -- records with at least one dropping decision
  r.rows_out,                   -- records it handed on
  d.rule,                       -- one of the rules that dropped some; empty if none did
  d.records as dropped_by_rule, -- how many records that rule dropped
  coalesce(r.finished_at < greatest(
    max(r.finished_at) over (order by r.position range between unbounded preceding and 1 preceding),
    if(r.position > 0, e.erased_at, null)
  ), false) as is_out_of_date   -- whether a stage before it has run, or records were erased, since
from latest as r
cross join (select max(finished_at) as erased_at from ledger.runs where stage = 'erasure' and rows_dropped > 0) as e
left join dropped as d using (stage)
order by r.position, d.records desc, d.rule
