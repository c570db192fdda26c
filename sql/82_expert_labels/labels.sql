-- One row per act of labelling: a rater gave a record a class, was unsure, skipped it, or took the last answer back.
-- Append-only: a second answer of the same rater to the same record replaces the first in expert_labels.current and nowhere else.
-- incoming(label_id, task, item_id, record_id, rater, role, answer, label, comment, guideline_version, seconds, labelled_at, origin): answers as they came; from label_queue.items(item_id, record_id)
select
  label_id::varchar as label_id,                    -- id of the act: the same act coming twice counts once
  task::varchar as task,                            -- name of the task
  item_id::varchar as item_id,                      -- the queued item; null where the record was never queued
  record_id::varchar as record_id,                  -- our id of the record
  rater::varchar as rater,                          -- who
  role::varchar as role,                            -- expert, adjudicator (settles disputes), crowd, or llm
  answer::varchar as answer,                        -- label, unsure, skip, or undo (takes the rater's last answer to this record back)
  label::varchar as label,                          -- the class; null unless answer is label
  comment::varchar as comment,                      -- what the rater noted
  guideline_version::varchar as guideline_version,  -- version of the guideline the rater saw; null where unknown
  seconds::double as seconds,                       -- from seeing the item to answering; null where unknown
  labelled_at::timestamptz as labelled_at,          -- when
  origin::varchar as origin                         -- page, csv, jsonl, label_studio, or source (the record's own label)
from incoming
