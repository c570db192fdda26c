-- One row per row of a file that could not be read, or was refused, and that an id, a place or a piece of text means.
-- $given: file:row, a piece of its first thousand bytes, or an id in them
select
  source,      -- name of the source
  source_uri,  -- the file
  source_row,  -- the row; empty where the whole file is meant
  reason,      -- why
  excerpt      -- its first bytes
from raw.rejects
where source_uri || ':' || source_row = $given or source_uri = $given or (len($given) >= 3 and contains(excerpt, left(trim($given, E' \t\n\r'), 500)))
order by source, source_uri, source_row
limit 20
