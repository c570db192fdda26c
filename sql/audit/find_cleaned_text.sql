-- One row per record whose text, before or after cleaning, is exactly a given one.
-- $text_hash: first 32 hex digits of the SHA-256 of the text, cleaned
-- $raw_text_hash: the same of the text as it was given
select
  record_id,         -- our id of the record
  source,            -- name of the source
  source_record_id,  -- the owner's id
  source_uri,        -- the file
  source_row         -- row in the file
from cleaned.records
where text_hash in ($text_hash, $raw_text_hash) or raw_text_hash in ($text_hash, $raw_text_hash)
order by source, source_uri, source_row
limit 20
