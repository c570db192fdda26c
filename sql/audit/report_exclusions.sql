-- One row per stage and rule in force at a time: how many records it kept out, on what.
-- A record that several rules of a stage drop counts under each.
-- $at: the time
with latest as (
  select stage, max_by(run_id, finished_at) as run_id
  from ledger.runs
  where finished_at <= $at::timestamptz
  group by stage
)
select
  d.stage,                                    -- the stage
  d.rule,                                     -- the rule
  count(distinct d.record_id) as records,     -- records it dropped
  any_value(d.threshold) as threshold,        -- what it held them against (one of its thresholds, where they differ)
  min(d.value) as least,                      -- least value it dropped
  max(d.value) as most                        -- greatest
from ledger.decisions as d
join latest as l on l.stage = d.stage and l.run_id = d.run_id
where d.verdict = 'drop'
group by d.stage, d.rule
order by list_position(['cleaned', 'deduped', 'filtered', 'curated_set'], d.stage), records desc, d.rule
