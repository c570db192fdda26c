-- One row per record whose text is, up to case and spaces, that of some records, and that is none of them.
-- Only texts with the same first and last character are compared.
-- $ids: our ids of the records
with trimmed as (
  select record_id, trim(text, E' \t\n\r\f\v') as text from raw.records
),
ends as (
  select record_id, text, lower(left(text, 1) || right(text, 1)) as ends from trimmed
),
named as (
  select record_id, ends, md5(regexp_replace(lower(text), '\s+', ' ', 'g')) as words
  from ends
  where record_id in (select unnest($ids::varchar[]))
)
select
  e.record_id  -- our id of the copy
from ends as e
where e.ends in (select ends from named)
  and e.record_id not in (select record_id from named)
  and md5(regexp_replace(lower(e.text), '\s+', ' ', 'g')) in (select words from named)
order by e.record_id
