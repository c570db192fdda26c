-- One row per row of a source that could not be read, with the reason. Nothing here went any further.
-- $source: name of the source
-- incoming(batch_id, source_uri, source_row, reason, excerpt): what the reader refused
select
  batch_id::varchar as batch_id,      -- the batch
  $source::varchar as source,         -- name of the source
  source_uri::varchar as source_uri,  -- the file
  source_row::bigint as source_row,   -- the row, from 1; empty where the whole file is meant
  reason::varchar as reason,          -- why, in a sentence
  excerpt::varchar as excerpt         -- its first bytes, undecodable ones as \xNN
from incoming
