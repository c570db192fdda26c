-- One row per kind and language of the members.
select
  r.kind,                               -- document, html, instruction, preference, reward or chat
  coalesce(s.language, 'not told') as language,  -- language, as guessed
  count(*) as records                   -- records
from members as m
join raw.records as r using (record_id)
left join filtered.signals as s using (record_id)
group by all
order by records desc, r.kind, language
