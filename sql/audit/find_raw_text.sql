-- One row per record whose text is, up to spaces and case, a given one: for what cleaning has not seen, or dropped.
-- $text: the text
select
  record_id,         -- our id of the record
  source,            -- name of the source
  source_record_id,  -- the owner's id
  source_uri,        -- the file
  source_row         -- row in the file
from raw.records
where len(text) between len($text) * 0.5 and len($text) * 2 + 100
  and trim(regexp_replace(lower(text), '\s+', ' ', 'g')) = trim(regexp_replace(lower($text), '\s+', ' ', 'g'))
order by source, source_uri, source_row
limit 20
