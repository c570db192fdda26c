-- One row per row of ledger.runs since the ledger was chained, with its hash computed afresh.
select
  chain_position,   -- place in the chain
  run_id,           -- the run
  stage,            -- the stage
  finished_at,      -- when it was committed
  decisions,        -- decisions it says it wrote
  decisions_hash,   -- the hash over them that it holds
  previous_hash,    -- the hash before it that it holds
  lag(chain_hash) over (order by chain_position) as hash_before,  -- the hash the row before it holds
  chain_hash,       -- the hash it holds
  sha256(json_array(
    chain_position, previous_hash, run_id, stage, epoch_us(started_at), epoch_us(finished_at), rows_in, rows_out, rows_dropped,
    code_version, config::varchar, config_hash, notes::varchar, decisions, decisions_hash
  )::varchar) as hash,  -- the hash computed afresh
  notes                 -- the stage's notes
from ledger.runs
where chain_position is not null
order by chain_position
