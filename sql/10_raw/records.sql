-- One row per record as its owner wrote it: verbatim original, the owner's id, file and row. Never edited, never deleted from.
-- Our id is a hash of all that is said of the record (source, file, owner's id, original, text, kind, label, licence, time; for
-- identical rows of a file also which of them it is): the same on every machine and in every run, and new when any of it changes.
-- $source: name of the source
-- incoming(batch_id, position, source_record_id, has_owner_id, source_uri, source_row, kind, text, label, license, record_time, original): the rows of some files, and the batch that each file is
with repeats as (
  -- Narrow on purpose: only the few rows that repeat an earlier one of the file reach the join below.
  select i.position, i.copy
  from (
    select
      position,
      row_number() over (
        partition by source_uri, case when has_owner_id then source_record_id end, md5(original), md5(text) order by position
      ) as copy
    from incoming
  ) as i
  where i.copy > 1
)
select
  left(sha256(concat_ws(
    chr(31), $source::varchar, n.source_uri, case when n.has_owner_id then n.source_record_id else '' end, coalesce(c.copy, 1)::varchar, md5(n.text),
    n.kind, coalesce(n.label, ''), coalesce(n.license, ''), coalesce(n.record_time, ''), n.original
  )), 32) as record_id,                     -- our id of the record
  $source::varchar as source,               -- name of the source
  n.source_record_id::varchar as source_record_id,  -- the owner's id; file:row where the owner gives none
  n.has_owner_id::boolean as has_owner_id,  -- whether source_record_id is the owner's own
  n.source_uri::varchar as source_uri,      -- the file, relative to the source
  n.source_row::bigint as source_row,       -- row in the file when first seen, from 1
  n.kind::varchar as kind,                  -- document, html, instruction, preference, reward or chat
  n.label::varchar as label,                -- the owner's label, if any
  n.license::varchar as license,            -- licence of the record, as its owner states it
  n.record_time::varchar as record_time,    -- the owner's time of the record, as written
  n.text::varchar as text,                  -- the text field, or the template filled in, before any cleaning
  n.original::varchar as original,          -- the record verbatim
  n.batch_id::varchar as batch_id           -- the batch that first brought it
from incoming as n
left join repeats as c on c.position = n.position
