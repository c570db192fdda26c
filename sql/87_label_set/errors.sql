-- One row per label that is likely wrong, by confident learning (Northcutt, Jiang & Chuang 2021): to be read in the order of rank.
-- incoming(role, rank, record_id, raters, given_label, given_probability, expected_label, expected_probability, method, nearest_record_id, nearest_label, nearest_cosine, reason): algorithms/label_errors.py; from expert_labels.current(rater, role, label), expert_labels.items(label, half), embeddings.vectors(embedding), predicted_labels.predictions(probabilities, labeller), label_task.tasks(classes)
select
  role::varchar as role,                                    -- who gave the label: crowd, llm or expert
  rank::integer as rank,                                    -- place among that role's, from 1: least probable label first
  record_id::varchar as record_id,                          -- our id of the record
  raters::varchar[] as raters,                              -- those who gave the label
  given_label::varchar as given_label,                      -- the label
  given_probability::double as given_probability,           -- its probability
  expected_label::varchar as expected_label,                -- the likeliest other class
  expected_probability::double as expected_probability,     -- its probability
  method::varchar as method,                                -- where the probabilities are from: expert_model (fitted on the experts' labels) or cross_validation (on the role's own labels)
  nearest_record_id::varchar as nearest_record_id,          -- the nearest other record with a settled expert label
  nearest_label::varchar as nearest_label,                  -- that label
  nearest_cosine::double as nearest_cosine,                 -- cosine of the two
  reason::varchar as reason                                 -- in words
from incoming
