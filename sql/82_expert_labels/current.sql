-- One row per task, rater, role and record: the answer of theirs that is in force.
-- Of several answers the latest is, under whichever guideline it was given; after an undo none is until they answer again.
-- What someone said as an expert and what they said as an adjudicator stand side by side.
-- A label given under an earlier name of a class has the name the class has now.
-- $task: name of the task in force
-- $earlier_names: earlier names of its classes
-- $names: the names their classes have now, in that order
-- $crowd_labels: whether the labels that records came with from their source count
-- $ignored_raters: raters who do not count
with last_acts as (
  select *
  from expert_labels.labels
  where (origin <> 'source' or $crowd_labels::boolean) and not list_contains($ignored_raters::varchar[], rater)
  qualify row_number() over (partition by task, rater, role, record_id order by labelled_at desc, label_id desc) = 1
)
select
  task,               -- name of the task
  rater,              -- who
  role,               -- expert, adjudicator, crowd or llm
  record_id,          -- our id of the record
  item_id,            -- the queued item; null where the record was never queued
  answer,             -- label, unsure or skip
  case
    when task = $task then coalesce(list_extract($names::varchar[], list_position($earlier_names::varchar[], label)), label)
    else label
  end as label,       -- the class; null unless answer is label
  comment,            -- what the rater noted
  guideline_version,  -- version of the guideline the rater saw; null where unknown
  seconds,            -- from seeing the item to answering; null where unknown
  labelled_at,        -- when
  origin              -- page, csv, jsonl, label_studio, or source (the record's own label)
from last_acts
where answer <> 'undo'
