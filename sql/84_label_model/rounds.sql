-- One row per model that was fitted on expert labels: how far it agrees with the experts, beside how far they agree with each other.
-- Append-only: a run without new labels adds none; where a round was fitted more than once, the newest row of the round counts.
-- incoming(task, round, model, revision, labels_train, labels_evaluate, model_kappa, model_kappa_low, model_kappa_high, model_kappa_weighted, model_kappa_weighted_low, model_kappa_weighted_high, expert_kappa, expert_kappa_low, expert_kappa_high, stop_reason, stop_sentence, items_used, finished_at): figures of one fit; from expert_labels.items(record_id, label, votes, half, sampling_probability), label_task.tasks(classes, settings)
select
  task::varchar as task,                                -- name of the task
  round::integer as round,                              -- round of labelling whose labels were the last it learned from
  model::varchar as model,                              -- embedded, fine_tune or lora
  revision::varchar as revision,                        -- the model: see label_model.models
  labels_train::integer as labels_train,                -- items it was fitted on
  labels_evaluate::integer as labels_evaluate,          -- items it was measured on, none of which it was fitted on
  model_kappa::double as model_kappa,                   -- Cohen's kappa of the model with the experts' settled labels on them; null: undefined
  model_kappa_low::double as model_kappa_low,           -- lower end of its 95 % interval
  model_kappa_high::double as model_kappa_high,         -- upper end
  model_kappa_weighted::double as model_kappa_weighted,  -- the same for the whole pool, from the random share by its weights; null with too few
  model_kappa_weighted_low::double as model_kappa_weighted_low,    -- lower end of its 95 % interval
  model_kappa_weighted_high::double as model_kappa_weighted_high,  -- upper end
  expert_kappa::double as expert_kappa,                 -- mean pairwise kappa of the experts on the items that evaluate, those they are at odds over included; null: undefined
  expert_kappa_low::double as expert_kappa_low,         -- lower end of its 95 % interval
  expert_kappa_high::double as expert_kappa_high,       -- upper end
  stop_reason::varchar as stop_reason,                  -- parity, plateau or budget; null: go on
  stop_sentence::varchar as stop_sentence,              -- why, for the reader
  items_used::integer as items_used,                    -- items with a settled label so far
  finished_at::timestamptz as finished_at               -- when
from incoming
