-- One row per record that an expert or adjudicator has answered for in the task in force: what they said and what follows from it.
-- Answers with a class that the task no longer has do not count.
-- $task: name of the task in force
-- $classes: its classes
-- $guideline_version: the version of its guideline in force
-- incoming(record_id, half): half of each record, by its id alone; from expert_labels.labels(record_id), label_task.tasks(settings)
with answers as (
  select *
  from expert_labels.current
  where task = $task and role in ('expert', 'adjudicator') and (answer <> 'label' or list_contains($classes::varchar[], label))
),
tally as (
  select record_id, label, count(*) as raters
  from answers
  where role = 'expert' and answer = 'label'
  group by record_id, label
),
majorities as (
  select
    record_id,
    sum(raters) as raters,
    count(*) as classes,
    max(raters) as most,
    case when count(*) > 1 and max(raters, 2)[1] = max(raters, 2)[2] then null else arg_max(label, raters) end as label
  from tally
  group by record_id
),
rulings as (
  select record_id, arg_max(label, labelled_at) as label
  from answers
  where role = 'adjudicator' and answer = 'label'
  group by record_id
),
said as (
  select
    record_id,
    list({'rater': rater, 'label': label} order by rater) filter (role = 'expert' and answer = 'label') as votes,
    count(*) filter (role = 'expert' and answer = 'unsure') as unsure,
    count(*) filter (role = 'expert' and answer = 'skip') as skips,
    list_sort(list(distinct guideline_version) filter (answer = 'label' and guideline_version is not null)) as guideline_versions,
    coalesce(bool_or(guideline_version <> $guideline_version) filter (answer = 'label'), false) as is_stale_guideline,
    max(labelled_at) as labelled_at
  from answers
  group by record_id
)
select
  s.record_id,                                       -- our id of the record
  q.item_id,                                         -- the queued item; null where the record was never queued
  $task::varchar as task,                            -- name of the task
  coalesce(s.votes, []) as votes,                    -- the classes the experts gave: [{rater, label}]
  coalesce(m.raters, 0)::integer as raters,          -- experts who gave a class
  coalesce(r.label, m.label) as label,               -- the class: the adjudicator's, else the one most experts gave; null on a tie
  coalesce(m.classes, 0) > 1 and r.label is null as is_disputed,  -- whether the experts gave different classes and no adjudicator has settled it
  r.label is not null as is_adjudicated,             -- whether an adjudicator has settled it
  case
    when r.label is null then m.most / m.raters
    else coalesce(t.raters, 0) / m.raters
  end as agreement_share,                            -- share of the experts for the label; on a tie, for each of the classes given most; null without experts
  s.unsure::integer as unsure,                       -- experts who were unsure
  s.skips::integer as skips,                         -- experts who skipped it
  q.round,                                           -- round in which it was queued
  q.reason,                                          -- why it was queued: boundary_pair, uncertain, random, top_of_score or new_concept
  q.partner_record_id,                               -- the other record of the pair it was shown in
  q.distance,                                        -- cosine distance to it
  q.sampling_probability,                            -- chance it had of being in the random share; null for items chosen otherwise
  i.half,                                            -- train or evaluate: fixed per record for good
  coalesce(s.guideline_versions, []) as guideline_versions,  -- versions of the guideline its labels were made under, those known
  s.is_stale_guideline,                              -- whether one of its labels was made under another version than the one in force
  s.labelled_at                                      -- when it was answered last
from said as s
join incoming as i on i.record_id = s.record_id
left join majorities as m on m.record_id = s.record_id
left join rulings as r on r.record_id = s.record_id
left join tally as t on t.record_id = s.record_id and t.label = r.label
left join label_queue.items as q on q.task = $task and q.record_id = s.record_id
