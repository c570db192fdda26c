-- One row per record whose text is, up to case and spaces, that of some records, and that is none of them.
-- $ids: our ids of the records
with hashed as (
  select record_id, md5(trim(regexp_replace(lower(text), '\s+', ' ', 'g'))) as words from raw.records
)
select
  h.record_id  -- our id of the copy
from hashed as h
where h.words in (select words from hashed where record_id in (select unnest($ids::varchar[])))
  and h.record_id not in (select unnest($ids::varchar[]))
order by h.record_id
