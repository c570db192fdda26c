-- One row per bad output and record of the curated set that may have taught it, with the evidence. Written by `curate blame`.
-- incoming(output_id, record_id, rank, score, cosine, shared_phrases, influence, influence_nats, is_strong, blamed_at): the records blamed; from curated_set.records(text), embeddings.vectors(embedding)
select
  output_id::varchar as output_id,            -- the bad output
  record_id::varchar as record_id,            -- our id of the record
  rank::integer as rank,                      -- its place among the records blamed for the output, from 1
  score::double as score,                     -- reciprocal rank fusion of the three kinds of evidence
  cosine::double as cosine,                   -- likeness of the embeddings of output and record
  shared_phrases::double as shared_phrases,   -- share of the information in the output's words and phrases that is in rare ones the record has too
  influence::double as influence,             -- fall of the output's loss by steps on the record, in standard deviations of random records
  influence_nats::double as influence_nats,   -- the same in nats a token
  is_strong::boolean as is_strong,            -- whether two kinds of evidence exceed what is found for texts no record taught
  blamed_at::timestamptz as blamed_at         -- when
from incoming
