-- One row per item that was ever queued for the experts, with why.
-- Append-only: every round adds its items. A record is queued once in a task.
-- incoming(item_id, task, round, position, record_id, reason, partner_record_id, distance, cluster, partner_cluster, predicted_label, predicted_probability, sampling_probability, queued_at): this round's items; from predicted_labels.predictions(record_id, label, probability), embeddings.vectors(embedding), lexical_vectors.vectors(lexical_vector), expert_labels.items(record_id), label_task.tasks(settings)
select
  item_id::varchar as item_id,                      -- id of the item: hash of task and record
  task::varchar as task,                            -- name of the task
  round::integer as round,                          -- round of labelling in which it was queued, from 1
  position::integer as position,                    -- place in the round's queue, from 1
  record_id::varchar as record_id,                  -- our id of the record
  reason::varchar as reason,                        -- boundary_pair, uncertain, random, top_of_score or new_concept
  partner_record_id::varchar as partner_record_id,  -- the other record of the pair: near, and given another class; shown beside it
  distance::double as distance,                     -- cosine distance to the partner
  cluster::integer as cluster,                      -- cluster of the record among those given its class, in this round
  partner_cluster::integer as partner_cluster,      -- cluster of the partner among those given the partner's class
  predicted_label::varchar as predicted_label,      -- the class the model gave it when it was queued; hidden from raters until they answer
  predicted_probability::double as predicted_probability,  -- and its probability
  sampling_probability::double as sampling_probability,    -- chance it had of being in the random share; null for items chosen otherwise
  queued_at::timestamptz as queued_at               -- when
from incoming
