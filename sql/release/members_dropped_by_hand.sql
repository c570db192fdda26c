-- One row per record of the curated set that a person has dropped since the set was built.
with verdicts as (
  select record_id, max_by(verdict, (decided_at, rowid)) as verdict
  from overrides.entries
  group by record_id
)
select
  c.record_id,                                         -- our id of the record
  any_value(r.source) as source,                       -- its source
  any_value(r.source_record_id) as source_record_id    -- the owner's id
from curated_set.records as c
join verdicts as v using (record_id)
join raw.records as r using (record_id)
where v.verdict = 'drop'
group by c.record_id
order by c.record_id
