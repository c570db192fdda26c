-- One row per record of the pool: the class the current model gives it, and how sure it is.
-- incoming(record_id, label, probability, probabilities, margin, labeller, revision, round): the model's answers; from embeddings.vectors(embedding), lexical_vectors.vectors(lexical_vector), filtered.records(text), label_model.models(parameters), label_task.tasks(classes, examples)
select
  record_id::varchar as record_id,              -- our id of the record
  label::varchar as label,                      -- the likeliest class
  probability::double as probability,           -- its probability
  probabilities::double[] as probabilities,     -- of every class, in the task's order; they add up to 1
  margin::double as margin,                     -- probability of the likeliest class less that of the second
  labeller::varchar as labeller,                -- zero_shot, few_shot, language_model, or label_model (fitted on the experts' labels)
  revision::varchar as revision,                -- revision of the labeller
  round::integer as round                       -- round of labelling, from 1: round 1 is LLM-0, before any expert label
from incoming
