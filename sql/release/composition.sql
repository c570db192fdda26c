-- One row per source, licence, kind and language of the curated set, with its records and tokens.
select
  c.source,                            -- name of the source
  coalesce(c.license, 'not stated') as license,  -- licence, as the owner states it
  c.kind,                              -- document, html, instruction, preference, reward or chat
  coalesce(g.language, 'und') as language,  -- language of the text; und where it cannot be told
  count(*) as records,                 -- records
  sum(c.tokens)::bigint as tokens      -- their estimated tokens
from curated_set.records as c
left join filtered.signals as g using (record_id)
group by all
order by all
