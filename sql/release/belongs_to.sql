-- One row per record of the curated set: what it is a part of, so that its other parts stand in the same split.
-- $tables: formats of files that hold many records of no common origin
-- $table_suffixes: their suffixes
-- $field: a field of the original that names what it is a part of; null for none
with latest as (
  select source, source_uri, max_by(source_config ->> 'format', ingested_at) as format
  from raw.batches
  group by source, source_uri
),
repeated as (
  select source, source_record_id from raw.records where has_owner_id group by all having count(*) > 1
)
select
  c.record_id,  -- our id of the record
  c.position,   -- its place in training, from 1
  case
    when list_contains($tables::varchar[], l.format) then null
    when l.format is null and list_contains(
      $table_suffixes::varchar[], regexp_extract(lower(c.source_uri), '(\.[a-z0-9]+)(\.(gz|zst))?$', 1)
    ) then null
    else c.source || chr(31) || c.source_uri
  end as file,  -- the file, where a file is a document
  case when p.source is not null then c.source || chr(31) || c.source_record_id end as owner_id,  -- the owner's id, where several records have it
  case when $field::varchar is not null and json_valid(r.original)
    then r.original::json ->> ('$."' || replace($field::varchar, '"', '\"') || '"') end as field  -- what the field of the config says
from curated_set.records as c
join raw.records as r using (record_id)
left join latest as l on l.source = c.source and l.source_uri = c.source_uri
left join repeated as p on p.source = c.source and p.source_record_id = c.source_record_id
