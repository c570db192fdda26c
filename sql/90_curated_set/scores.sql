-- One row per candidate: its scores, its weight, its chance, and why it is or is not in the set.
-- incoming(record_id, quality, density, tokens, weight, draw, inclusion_probability, is_selected, difficulty, position, rule, value, threshold, matched_record_id, reason): the choice; from quality_scores.scores(quality), density.scores(density), clusters.assignments(cluster_id, distance), filtered.records(record_id, text), filtered.signals(language)
select
  record_id::varchar as record_id,      -- our id of the record
  quality::double as quality,           -- quality, 0 to 1
  density::double as density,           -- density, at least 1
  tokens::bigint as tokens,             -- estimated tokens (4 bytes of UTF-8 each)
  weight::double as weight,             -- what it weighed in the draw; null where it was held back or nothing is weighed
  draw::double as draw,                 -- order of taking, smallest first: exponential key, or rank where there is no chance
  inclusion_probability::double as inclusion_probability,  -- chance in this draw; 1 or 0 where there is none, 1 where a person keeps it; null if held back
  is_selected::boolean as is_selected,  -- whether it is in the curated set
  difficulty::double as difficulty,     -- mean rank of its length and of its distance to the cluster's centroid, 0 to 1
  position::bigint as position,         -- its place in training, from 1; null where not selected
  rule::varchar as rule,                -- why it is in or out; the ledger's rule
  value::double as value,               -- what the rule looked at
  threshold::double as threshold,       -- what the value was held against
  matched_record_id::varchar as matched_record_id,  -- the record it is a semantic duplicate of
  reason::varchar as reason             -- what a person gave as reason to keep or drop it, or to drop or review its cluster
from incoming
