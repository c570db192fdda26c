-- One row per stage and rule of the latest runs: how many records came in, were dropped, were kept.
-- A record that several rules drop counts under each of them, so the rules of a stage may add up to more than it drops.
with latest as (
  select * from ledger.runs qualify row_number() over (partition by stage order by finished_at desc) = 1
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
  d.records as dropped_by_rule  -- how many records that rule dropped
from latest as r
left join dropped as d using (stage)
where r.stage in ('raw', 'cleaned', 'deduped', 'filtered', 'curated_set')
order by r.started_at, d.records desc, d.rule
