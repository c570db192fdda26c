-- One row per decision in force on a record.
-- $record_id: our id of the record
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
from ledger.current_decisions as d
join ledger.runs as u on u.run_id = d.run_id and u.stage = d.stage
left join raw.records as m on m.record_id = d.matched_record_id
where d.record_id = $record_id
order by d.stage, d.verdict, d.rule
