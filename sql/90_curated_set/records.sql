-- One row per record of the curated set: the training data.
select
  r.record_id,              -- our id of the record
  r.source,                 -- name of the source
  r.source_record_id,       -- the owner's id; file:row where the owner gives none
  r.source_uri,             -- the file, relative to the source
  r.source_row,             -- row in the file, from 1
  r.kind,                   -- document, html, instruction, preference, reward or chat
  r.label,                  -- the owner's label, if any
  r.license,                -- licence of the record, as its owner states it
  r.record_time,            -- the owner's time of the record, as written
  r.text,                   -- the cleaned text
  r.text_hash,              -- hash of the text
  a.cluster_id,             -- the cluster it belongs to
  s.quality,                -- quality, 0 to 1
  s.density,                -- density, at least 1
  s.tokens,                 -- estimated tokens
  s.inclusion_probability,  -- chance with which it was selected: weight it by 1 / this to speak for the whole
  s.difficulty,             -- mean rank of its length and of its distance to the cluster's centroid, 0 to 1
  s.position                -- its place in training, from 1
from filtered.records as r
join curated_set.scores as s using (record_id)
join clusters.assignments as a using (record_id)
where s.is_selected
