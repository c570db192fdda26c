-- One row per record that a request for erasure names: every condition that is given must hold.
-- $ids: our ids or owners' ids; null: any
-- $source: name of a source; null: any
-- $licenses: licences as they are stated; null: any
select
  record_id,         -- our id of the record
  source,            -- its source
  source_uri,        -- the file
  source_row,        -- row in the file
  source_record_id,  -- the owner's id
  license            -- its licence
from raw.records
where ($ids::varchar[] is null or record_id in (select unnest($ids::varchar[])) or source_record_id in (select unnest($ids::varchar[])))
  and ($source::varchar is null or source = $source::varchar)
  and ($licenses::varchar[] is null or license in (select unnest($licenses::varchar[])))
order by source, source_uri, source_row
