-- The partner of an item is queued in the same round, names the item as its partner, and was given another class.
-- asset: label_queue
select
  i.task,                                       -- the task
  i.round,                                      -- the round
  i.record_id,                                  -- the item's record
  i.partner_record_id,                          -- its partner
  i.predicted_label,                            -- the item's predicted class
  p.predicted_label as partner_predicted_label  -- the partner's; null where it was not queued
from label_queue.items as i
left join label_queue.items as p on p.task = i.task and p.round = i.round and p.record_id = i.partner_record_id
where i.partner_record_id is not null
  and not starts_with(i.partner_record_id, 'erased-')  -- the tombstone of a record that was erased
  and (p.record_id is null or p.partner_record_id is distinct from i.record_id or p.predicted_label = i.predicted_label)
