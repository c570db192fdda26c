-- One row per text and fine-tuned model: the probabilities it gives the text, computed once.
-- Appended chunk by chunk while the stage runs, so that an interruption costs at most one chunk.
-- incoming(text_hash, revision, probabilities): probabilities of one chunk; from filtered.records(text), label_model.models(parameters)
select
  text_hash::varchar as text_hash,           -- hash of the cleaned text
  revision::varchar as revision,             -- revision of the model
  probabilities::double[] as probabilities   -- of every class, in the task's order
from incoming
