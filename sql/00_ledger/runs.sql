-- One row per stage of a run: when, on what, with which code and configuration.
-- Append-only, written in the same transaction as the stage's tables, so a row here means they are whole.
-- incoming(run_id, stage, started_at, finished_at, rows_in, rows_out, rows_dropped, code_version, config, config_hash, notes): the stage's own account
select
  run_id::varchar as run_id,              -- the Dagster run
  stage::varchar as stage,                -- the asset
  started_at::timestamptz as started_at,  -- when its work began
  finished_at::timestamptz as finished_at,  -- when its rows were committed
  rows_in::bigint as rows_in,             -- records the stage was given
  rows_out::bigint as rows_out,           -- records it hands on
  rows_dropped::bigint as rows_dropped,   -- records with at least one dropping decision
  code_version::varchar as code_version,  -- version of the asset's code
  config::json as config,                 -- the asset's configuration, defaults included
  config_hash::varchar as config_hash,    -- SHA-256 over code version and configuration
  notes::json as notes                    -- what the stage chose or measured by itself: model, revision, width, …
from incoming
