-- One row per stage of a run: when, on what, with which code and configuration.
-- Append-only, written in the same transaction as the stage's tables, so a row here means they are whole.
-- The rows are a chain: each holds the hash of the one before and of the decisions it committed, so that an edited, removed
-- or reordered row shows (`curate verify --ledger`, sql/audit/ledger_*.sql).
-- incoming(run_id, stage, started_at, finished_at, rows_in, rows_out, rows_dropped, code_version, config, config_hash, notes, decisions, decisions_hash, chain_position, previous_hash): the stage's own account
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
  notes::json as notes,                   -- what the stage chose or measured by itself: model, revision, width, …
  decisions::bigint as decisions,         -- decisions it wrote; null before the ledger was chained
  decisions_hash::varchar as decisions_hash,  -- SHA-256 over them (sql/audit/decisions_hash.sql); null if there are none
  chain_position::bigint as chain_position,   -- place in the chain, from 1; null before the ledger was chained
  previous_hash::varchar as previous_hash,    -- chain_hash of the row before; 64 zeros for the first
  if(chain_position is null, null, sha256(json_array(
    chain_position::bigint, previous_hash::varchar, run_id::varchar, stage::varchar, epoch_us(started_at::timestamptz),
    epoch_us(finished_at::timestamptz), rows_in::bigint, rows_out::bigint, rows_dropped::bigint, code_version::varchar,
    config::varchar, config_hash::varchar, notes::varchar, decisions::bigint, decisions_hash::varchar
  )::varchar)) as chain_hash              -- SHA-256 over the row and, by previous_hash, all before it
from incoming
