-- One row per text, model and revision: its embedding, computed once.
-- Appended chunk by chunk while the stage runs, so that an interruption costs at most one chunk.
-- incoming(text_hash, model, revision, embedding): embeddings of one chunk; from filtered.records(text)
select
  text_hash::varchar as text_hash,    -- hash of the cleaned text
  model::varchar as model,            -- id or path of the model
  revision::varchar as revision,      -- revision of its weights, its pooling and its arithmetic
  embedding::float[] as embedding     -- unit vector
from incoming
