-- Of every rater's acts on a record in a role the latest is in force, once, and none where it is an undo.
-- asset: expert_labels
with last_acts as (
  select task, rater, role, record_id, arg_max(answer, labelled_at) as answer, max(labelled_at) as labelled_at
  from expert_labels.labels
  group by task, rater, role, record_id
)
select
  c.task,                   -- name of the task
  c.rater,                  -- who
  c.role,                   -- in which role
  c.record_id,              -- the record
  count(*) as in_force,     -- answers in force
  any_value(l.answer) as last_answer  -- the latest act
from expert_labels.current as c
left join last_acts as l
  on l.task = c.task and l.rater = c.rater and l.role = c.role and l.record_id = c.record_id
group by c.task, c.rater, c.role, c.record_id
having count(*) <> 1 or any_value(l.labelled_at) is distinct from max(c.labelled_at) or max(c.answer) = 'undo'
