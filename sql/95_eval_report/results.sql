-- One row per measurement of an arm: the same small model trained on the curated set, on a random set, on everything.
-- incoming(arm, slice, seed, metric, value): training and measuring; from curated_set.records(text), cleaned.records(text), embeddings.vectors(embedding), clusters.assignments(cluster_id)
select
  arm::varchar as arm,        -- 'curated', 'random' (as many characters, drawn from everything), 'everything'; for coverage 'random_of_filtered' (as many records)
  slice::varchar as slice,    -- held-out text it was measured on: 'everything' or 'target'; empty for coverage
  seed::integer as seed,      -- seed of the training run; empty for coverage
  metric::varchar as metric,  -- perplexity, bits_per_byte, train_tokens, epochs, records, clusters_reached, …
  value::double as value      -- the value
from incoming
