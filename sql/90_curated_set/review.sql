-- One row per record held back for a person to look at: its cluster was sent to review.
-- Decide by giving the cluster another action, or none.
select
  s.record_id,         -- our id of the record
  r.source,            -- name of the source
  r.source_record_id,  -- the owner's id; file:row where the owner gives none
  a.cluster_id,        -- the cluster
  s.reason,            -- why it was sent to review
  s.quality,           -- quality, 0 to 1
  s.density,           -- density, at least 1
  r.text               -- the cleaned text
from curated_set.scores as s
join filtered.records as r using (record_id)
join clusters.assignments as a using (record_id)
where s.rule = 'cluster_review'
