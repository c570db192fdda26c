-- One row: what was measured of a record that reached the measuring stages.
-- $record_id: our id of the record
select
  a.cluster_id,                           -- its cluster
  d.density,                              -- density
  q.quality,                              -- quality
  q.judge,                                -- the judge
  s.inclusion_probability,                -- its chance of being selected
  s.is_selected                           -- whether it was
from clusters.assignments as a
join density.scores as d using (record_id)
join quality_scores.scores as q using (record_id)
left join curated_set.scores as s using (record_id)
where a.record_id = $record_id
