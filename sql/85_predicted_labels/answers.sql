-- One row per text, model, prompt and its version: what a language model answered when asked whether the text is of a class.
-- Appended chunk by chunk while the stage runs, so that nothing is paid for twice.
-- incoming(text_hash, model, revision, prompt, prompt_version, yes, no, method, prompt_tokens, completion_tokens, asked_at): answers of one chunk; from filtered.records(text)
select
  text_hash::varchar as text_hash,            -- hash of the cleaned text
  model::varchar as model,                    -- id or path of the model
  revision::varchar as revision,              -- revision of its weights; for a server, what the server says of itself
  prompt::varchar as prompt,                  -- name of the question: is it CLASS
  prompt_version::varchar as prompt_version,  -- a hash of the question (definition, guideline, examples), and the tokens it may have with the record
  yes::double as yes,                         -- probability mass of the variants of yes as the first token
  no::double as no,                           -- the same of no; both 0 where the model said neither
  method::varchar as method,                  -- logits or logprobs, decisions (the server's own probability), or votes (sampled answers)
  prompt_tokens::bigint as prompt_tokens,          -- tokens of the prompt
  completion_tokens::bigint as completion_tokens,  -- tokens generated
  asked_at::timestamptz as asked_at           -- when
from incoming
