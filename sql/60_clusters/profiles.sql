-- One row per cluster: what it is about, how large, how good, how dense, and what it looks like.
-- incoming(cluster_id, words): c-TF-IDF words; from filtered.records(text), clusters.assignments(cluster_id)
select
  a.cluster_id,                              -- the cluster
  any_value(i.words) as words,               -- words most typical of it (c-TF-IDF), best first
  count(*) as records,                       -- records in it
  avg(q.quality) as mean_quality,            -- mean quality, 0 to 1
  quantile_cont(q.quality, [0.1, 0.5, 0.9]) as quality_deciles,  -- 10 %, 50 % and 90 % of quality
  avg(d.density) as mean_density,            -- mean density
  avg(len(r.text)) as mean_chars,            -- mean length in characters
  list_sort(list(distinct r.source)) as sources,     -- sources in it
  list_sort(list(distinct r.license)) as licenses,   -- licences in it
  list_sort(list(distinct r.label)) as labels,       -- owners' labels in it
  arg_min(left(r.text, 200), a.distance, 3) as nearest_examples,   -- the three texts nearest its centroid, cut
  arg_max(left(r.text, 200), a.distance, 3) as farthest_examples   -- the three farthest, cut
from clusters.assignments as a
join filtered.records as r using (record_id)
join density.scores as d using (record_id)
join quality_scores.scores as q using (record_id)
join incoming as i using (cluster_id)
group by a.cluster_id
