-- Every queued record is one that was read from a source.
-- asset: label_queue
select
  task,       -- the task
  round,      -- the round
  record_id   -- the record that no source brought
from label_queue.items
where record_id not in (select record_id from raw.records)
