-- One row per decision in force: those of the latest run of each stage.
-- A view, so it is never out of date.
select
  d.record_id,          -- our id of the record
  d.stage,              -- the asset that decided
  d.verdict,            -- 'keep' or 'drop'
  d.rule,               -- the rule that dropped it; empty where every rule let it pass
  d.value,              -- what the rule measured on this record
  d.threshold,          -- what the value was held against
  d.matched_record_id,  -- the other record: for a duplicate, the copy that was kept
  d.run_id              -- the Dagster run
from ledger.decisions as d
join (select stage, max_by(run_id, finished_at) as run_id from ledger.runs group by stage) as latest
  on latest.stage = d.stage and latest.run_id = d.run_id
