-- One row per stage: its run in force at a time, with code, configuration and what it chose by itself.
-- $at: the time
select
  stage,                             -- the stage
  run_id,                            -- the run
  finished_at,                       -- when
  rows_in,                           -- records it was given
  rows_out,                          -- records it handed on
  code_version,                      -- version of its code
  config_hash,                       -- SHA-256 over code version and configuration
  config::varchar as config,         -- the configuration
  notes::varchar as notes            -- what it chose or measured by itself
from ledger.runs
where finished_at <= $at::timestamptz
qualify row_number() over (partition by stage order by finished_at desc) = 1
order by finished_at
