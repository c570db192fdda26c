-- One row per candidate of the draw: its scores, its weight and its chance.
-- incoming(record_id, quality, density, tokens, weight, draw, inclusion_probability, is_selected): quality × coverage sampling; from quality_scores.scores(quality), density.scores(density)
select
  record_id::varchar as record_id,      -- our id of the record
  quality::double as quality,           -- quality, 0 to 1
  density::double as density,           -- density, at least 1
  tokens::bigint as tokens,             -- estimated tokens (4 bytes of UTF-8 each)
  weight::double as weight,             -- quality^a × density^-(1-a), capped
  draw::double as draw,                 -- exponential key: the smallest draws are selected
  inclusion_probability::double as inclusion_probability,  -- chance of being selected in this draw
  is_selected::boolean as is_selected   -- whether it was
from incoming
