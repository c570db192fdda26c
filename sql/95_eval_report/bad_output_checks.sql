-- One row per bad output and look at it: how likely the small model, trained on the curated set of that time, finds it.
-- The first look is that of `curate blame`; every evaluation adds one.
-- incoming(output_id, run_id, checked_at, bits_per_byte, deviation, seeds, token_budget, blamed, blamed_still_in, verdict): the looks; from curated_set.records(record_id)
select
  output_id::varchar as output_id,            -- the bad output
  run_id::varchar as run_id,                  -- the Dagster run of the evaluation; empty for `curate blame`
  checked_at::timestamptz as checked_at,      -- when
  bits_per_byte::double as bits_per_byte,     -- mean over training runs of the model's loss on the output; more is less likely
  deviation::double as deviation,             -- its standard deviation over training runs
  seeds::integer as seeds,                    -- training runs
  token_budget::bigint as token_budget,       -- training tokens a run: looks with another number are not compared
  blamed::integer as blamed,                  -- records blamed strongly for it at the last `curate blame`; of all, where none is
  blamed_still_in::integer as blamed_still_in,  -- how many of them are in the curated set
  verdict::varchar as verdict                 -- the finding in a sentence
from incoming
