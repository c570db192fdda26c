-- One row per source of the members: how much comes from it, from which files, under which licences, of which time.
select
  r.source,                                       -- the source
  count(*) as records,                            -- records in the set
  count(*) / sum(count(*)) over () as share,      -- share of the set's records
  sum(c.tokens)::bigint as tokens,                -- their estimated tokens, where they are in the curated set still
  sum(len(r.text))::bigint as chars,              -- their characters before cleaning
  count(distinct r.source_uri) as files,          -- files they come from
  any_value(b.path) as path,                      -- where one of them was read from
  list_sort(list(distinct coalesce(r.license, 'not stated'))) as licenses,  -- their licences
  min(r.record_time) as earliest,                 -- earliest time the owner gives
  max(r.record_time) as latest,                   -- latest time the owner gives
  min(b.ingested_at) as first_read,               -- when the first was read
  max(b.ingested_at) as last_read                 -- when the last was read
from members as m
join raw.records as r using (record_id)
join raw.batches as b using (batch_id)
left join curated_set.records as c using (record_id)
group by r.source
order by records desc, r.source
