-- One row per record of the curated set that a person has dropped since the set was built.
-- $dropped: our ids of the records on which a person's drop is in force
select
  c.record_id,                                         -- our id of the record
  any_value(r.source) as source,                       -- its source
  any_value(r.source_record_id) as source_record_id    -- the owner's id
from curated_set.records as c
join raw.records as r using (record_id)
where c.record_id in (select unnest($dropped::varchar[]))
group by c.record_id
order by c.record_id
