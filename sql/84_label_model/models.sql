-- One row per model that was fitted on expert labels: what it takes to predict with it again.
-- Append-only: the newest row of a task is in force, and those of earlier rounds are measured again on today's evaluation items.
-- incoming(task, round, model, revision, embedded_by, classes, parameters, fitted_on, fitted_at): the fitted model; from expert_labels.items(record_id, label, half), embeddings.vectors(embedding), lexical_vectors.vectors(lexical_vector), filtered.records(text)
select
  task::varchar as task,                -- name of the task
  round::integer as round,              -- round of labelling whose labels were the last it learned from; 0: labels, but none queued
  model::varchar as model,              -- embedded, fine_tune or lora
  revision::varchar as revision,        -- hash of the parameters, or of the files of a fine-tuned model
  embedded_by::varchar as embedded_by,  -- embedded: model and revision of the embeddings and basis of the lexical vectors it was fitted on; no others go with it
  classes::varchar[] as classes,        -- the classes, in the order of its outputs
  parameters::json as parameters,       -- embedded: {coefficients: [[…]], intercepts, strength, shift, threshold} as algorithms/label_classifier.py has them; fine_tune and lora: {folder}, below <database>.models
  fitted_on::varchar as fitted_on,      -- hash of the labels and settings: with the same ones nothing is fitted again
  fitted_at::timestamptz as fitted_at   -- when
from incoming
