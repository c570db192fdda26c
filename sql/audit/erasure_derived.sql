-- One row per record whose original says that it was made from one of some records, and that is none of them.
-- Read are the fields derived_from, parent_id, parent_ids, parent, seed_id, source_id, source_ids, based_on and generated_from: an id, or a list of them.
-- $ids: our ids of the records
with named as (
  select record_id, source_record_id, has_owner_id from raw.records where record_id in (select unnest($ids::varchar[]))
),
names as (
  select record_id as id from named
  union
  select source_record_id from named where has_owner_id
),
claims as (
  select record_id, unnest(json_extract(original, [
    '$.derived_from', '$.parent_id', '$.parent_ids', '$.parent', '$.seed_id', '$.source_id', '$.source_ids', '$.based_on', '$.generated_from'
  ])) as claim
  from raw.records
  where regexp_matches(original, '"(derived_from|parent_ids?|parent|seed_id|source_ids?|based_on|generated_from)"') and json_valid(original)
)
select distinct
  c.record_id  -- our id of the record
from (
  select record_id, unnest(if(json_type(claim) = 'ARRAY', json_extract_string(claim, '$[*]'), [claim ->> '$'])) as id
  from claims
  where claim is not null
) as c
join names as n on n.id = c.id
where c.record_id not in (select record_id from named)
order by c.record_id
