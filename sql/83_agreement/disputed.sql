-- One row per record that an adjudicator should settle: experts gave it different classes, or none could tell.
-- $task: name of the task in force
select
  i.record_id,                              -- our id of the record
  i.item_id,                                -- the queued item; null where the record was never queued
  i.round,                                  -- round in which it was queued
  case when i.is_disputed then 'different classes' else 'nobody could tell' end as why,  -- different classes, or nobody could tell
  list_sort(list(distinct c.label) filter (c.label is not null)) as labels,              -- the classes given
  list({'rater': c.rater, 'answer': coalesce(c.label, c.answer), 'comment': c.comment} order by c.rater) as votes,  -- what each expert said: [{rater, answer, comment}]
  i.is_stale_guideline,                     -- whether one of the labels was made under another version of the guideline than the one in force
  any_value(r.text) as text                 -- the text; null where the record is in the pool no more
from expert_labels.items as i
join expert_labels.current as c on c.task = $task and c.role = 'expert' and c.record_id = i.record_id
left join filtered.records as r on r.record_id = i.record_id
where i.is_disputed or (i.label is null and i.raters = 0 and i.unsure > 1)
group by i.record_id, i.item_id, i.round, i.is_disputed, i.is_stale_guideline
