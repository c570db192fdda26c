-- One row per record that is another version of one of some records: of the same file and owner's id, and never in a batch with it.
-- Where owners give no ids, only files that are one record each are compared.
-- $ids: our ids of the records
with placed as (
  select
    r.record_id, r.source, r.source_uri, r.source_record_id, r.has_owner_id,
    max(b.rows_read) over (partition by r.source, r.source_uri) as most_rows
  from raw.records as r
  join raw.batches as b on b.batch_id = r.batch_id
)
select distinct
  other.record_id  -- our id of the version
from placed as mine
join placed as other
  on other.source = mine.source and other.source_uri = mine.source_uri and other.source_record_id = mine.source_record_id
where mine.record_id in (select unnest($ids::varchar[]))
  and other.record_id not in (select unnest($ids::varchar[]))
  and (mine.has_owner_id or mine.most_rows = 1)
  and not exists (
    select 1
    from raw.batch_records as x
    join raw.batch_records as y on y.batch_id = x.batch_id
    where x.record_id = mine.record_id and y.record_id = other.record_id
  )
order by other.record_id
