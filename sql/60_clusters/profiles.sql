-- One row per cluster: what it is about, how large, how good, how dense, and what it looks like.
-- incoming(cluster_id, words, title): c-TF-IDF words; from filtered.records(text, kind), clusters.assignments(cluster_id)
with by_language as (
  select cluster_id, list({'language': language, 'records': records} order by records desc, language) as languages
  from (
    select a.cluster_id, s.language, count(*) as records
    from clusters.assignments as a
    join filtered.signals as s using (record_id)
    group by all
  )
  group by cluster_id
),
by_kind as (
  select cluster_id, list({'kind': kind, 'records': records} order by records desc, kind) as kinds
  from (
    select a.cluster_id, r.kind, count(*) as records
    from clusters.assignments as a
    join filtered.records as r using (record_id)
    group by all
  )
  group by cluster_id
),
by_type as (
  select cluster_id, first(type order by records desc, type) as type, max(records) / sum(records) as type_share
  from (
    select a.cluster_id, t.type, count(*) as records
    from clusters.assignments as a
    join clusters.types as t using (record_id)
    where t.type is not null
    group by all
  )
  group by cluster_id
),
profiles as (
  select
    a.cluster_id,
    count(*) as records,
    avg(q.quality) as mean_quality,
    quantile_cont(q.quality, [0.1, 0.5, 0.9]) as quality_deciles,
    avg(d.density) as mean_density,
    quantile_cont(d.density, [0.1, 0.5, 0.9]) as density_deciles,
    avg(len(r.text)) as mean_chars,
    list_sort(list(distinct r.source)) as sources,
    list_sort(list(distinct r.license)) as licenses,
    list_sort(list(distinct r.label)) as labels,
    arg_min(left(r.text, 200), a.distance, 3) as nearest_examples,
    arg_max(left(r.text, 200), a.distance, 3) as farthest_examples
  from clusters.assignments as a
  join filtered.records as r using (record_id)
  join density.scores as d using (record_id)
  join quality_scores.scores as q using (record_id)
  group by a.cluster_id
)
select
  p.cluster_id,            -- the cluster
  i.title,                 -- what it is called on plots and in tables: its first words
  i.words,                 -- words most typical of it (c-TF-IDF), best first
  p.records,               -- records in it
  p.records / sum(p.records) over () as share,  -- share of all records
  t.type,                  -- commonest type of task of its records that ask for something; null if none does
  t.type_share,            -- share of those records that are of this type
  k.kinds,                 -- kinds of its records, each with its number, most first
  l.languages,             -- languages of its records (as guessed), each with its number, most first
  p.mean_quality,          -- mean quality, 0 to 1
  p.quality_deciles,       -- 10 %, 50 % and 90 % of quality
  p.mean_density,          -- mean density
  p.density_deciles,       -- 10 %, 50 % and 90 % of density
  p.mean_chars,            -- mean length in characters
  p.sources,               -- sources in it
  p.licenses,              -- licences in it
  p.labels,                -- owners' labels in it
  p.nearest_examples,      -- the three texts nearest its centroid, cut
  p.farthest_examples      -- the three farthest, cut
from profiles as p
join incoming as i using (cluster_id)
join by_language as l using (cluster_id)
join by_kind as k using (cluster_id)
left join by_type as t using (cluster_id)
