-- One row per text, model and revision: how much of it the model was given.
-- Appended with the text's embedding.
-- incoming(text_hash, model, revision, tokens, tokens_read, chunks): one chunk of work; from filtered.records(text)
select
  text_hash::varchar as text_hash,     -- hash of the cleaned text
  model::varchar as model,             -- id or path of the model
  revision::varchar as revision,       -- revision of its weights, its pooling and its arithmetic
  tokens::bigint as tokens,            -- tokens of the text, special tokens apart; 0 where the model does not tell
  tokens_read::bigint as tokens_read,  -- those of them its embedding was made from
  chunks::int as chunks                -- pieces it was read in: 1 for a text within the model's limit
from incoming
