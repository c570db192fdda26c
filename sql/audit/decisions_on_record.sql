-- One row per decision that is in force on a record, or was at a time.
-- $record_id: our id of the record
-- $at: the time; null for now
with latest as (
  select stage, max_by(run_id, finished_at) as run_id
  from ledger.runs
  where $at::timestamptz is null or finished_at <= $at::timestamptz
  group by stage
)
select
  d.stage,              -- the stage that decided
  d.verdict,            -- keep or drop
  d.rule,               -- the rule
  d.value,              -- what it measured
  d.threshold,          -- what the value was held against
  d.matched_record_id,  -- the other record, if any
  m.source as matched_source,                      -- its source
  m.source_record_id as matched_source_record_id,  -- its owner's id
  d.run_id,             -- the run
  u.finished_at,        -- when it was decided
  u.code_version,       -- version of the stage's code
  u.config_hash         -- hash of code version and configuration
from ledger.decisions as d
join latest as l on l.stage = d.stage and l.run_id = d.run_id
join ledger.runs as u on u.run_id = d.run_id and u.stage = d.stage
left join raw.records as m on m.record_id = d.matched_record_id
where d.record_id = $record_id
order by d.stage, d.verdict, d.rule
