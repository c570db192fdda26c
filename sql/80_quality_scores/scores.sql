-- One row per record: how good a text the judge finds it, and what else was measured of its quality.
-- incoming(record_id, quality, judge, revision, cheap_quality, p_yes, method, asked_because, asked_probability, bits_per_byte): the judge's scores; from filtered.signals(record_id), embeddings.vectors(embedding), filtered.records(text), deduped.records(text), quality_scores.answers(yes, no, method)
select
  record_id::varchar as record_id,              -- our id of the record
  quality::double as quality,                   -- the judge's score, 0 (bad) to 1 (good)
  judge::varchar as judge,                      -- embedded (prose), embedded_response (does the response answer its request), reference, ask_llm, or student (of the language model)
  revision::varchar as revision,                -- revision of the judge
  cheap_quality::double as cheap_quality,       -- the cheap judge's score, where a language model was asked too
  p_yes::double as p_yes,                       -- the language model's P(yes), where it was asked
  method::varchar as method,                    -- how that was got: logits, logprobs, decisions or votes
  asked_because::varchar as asked_because,      -- all, stratified (a sample over the cheap scores) or uncertain (the cheap judge cannot tell)
  asked_probability::double as asked_probability,  -- chance of being in the stratified sample, for records that are
  bits_per_byte::double as bits_per_byte        -- perplexity signal: bits a byte under the n-gram model; null where it was not measured
from incoming
