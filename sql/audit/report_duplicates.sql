-- One row per kind of duplicate that was merged into a kept record, and whether that record is a member, by the decisions in force at a time.
-- $at: the time
with latest as (
  select max_by(run_id, finished_at) as run_id
  from ledger.runs
  where stage = 'deduped' and finished_at <= $at::timestamptz
)
select
  replace(d.rule, '_duplicate', '') as kind,           -- exact or near
  m.record_id is not null as is_for_a_member,          -- whether the record that was kept is in the set
  count(distinct d.record_id) as records,              -- duplicates merged
  min(d.value) as least_similarity,                    -- least Jaccard similarity
  count(distinct d.matched_record_id) as kept          -- records they were merged into
from ledger.decisions as d
join latest as l on l.run_id = d.run_id
left join (select distinct record_id from members) as m on m.record_id = d.matched_record_id
where d.stage = 'deduped' and d.verdict = 'drop' and d.rule in ('exact_duplicate', 'near_duplicate')
group by all
order by kind, is_for_a_member
