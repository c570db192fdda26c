-- No record is queued twice in a task.
-- asset: label_queue
select
  task,                      -- the task
  record_id,                 -- the record
  count(*) as times,         -- how often it was queued
  list(round) as rounds      -- in which rounds
from label_queue.items
group by task, record_id
having count(*) > 1
