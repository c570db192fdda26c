-- One row per record of the curated set, with all that its rows in a release are written from.
-- $conversations: the kinds that have turns
select
  c.record_id,              -- our id of the record
  c.position,               -- its place in training, from 1
  c.source,                 -- name of the source
  c.source_record_id,       -- the owner's id; file:row where the owner gives none
  c.source_uri,             -- the file, relative to the source
  c.source_row,             -- row in the file, from 1
  c.license,                -- licence of the record, as its owner states it
  c.record_time,            -- the owner's time of the record, as written
  c.kind,                   -- document, html, instruction, preference, reward or chat
  c.label as owner_label,   -- the owner's label, if any
  g.language,               -- language of its text
  c.cluster_id,             -- the cluster it belongs to
  c.quality,                -- quality, 0 to 1
  c.density,                -- density, at least 1
  c.difficulty,             -- mean rank of its length and of its distance to the cluster's centroid, 0 to 1
  c.tokens,                 -- estimated tokens
  c.inclusion_probability,  -- chance with which it was selected
  c.text_hash,              -- hash of the text
  c.text,                   -- the cleaned text
  case when list_contains($conversations::varchar[], c.kind) then coalesce(k.cleaned_original, r.original) end as original  -- the record, of a conversation, as cleaning left it
from curated_set.records as c
join raw.records as r using (record_id)
join cleaned.records as k using (record_id)
left join filtered.signals as g using (record_id)
