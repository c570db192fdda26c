-- One row per record that has most of some words in its text, most first: candidates for the nearest to a given text.
-- Texts are read and written in lower case once for all words; those that are told are read again.
-- $words: a few words of the text, the longest, in lower case
with counted as materialized (
  select
    record_id,
    list_transform([lower(text)], lambda low: list_sum(list_transform($words::varchar[], lambda word: contains(low, word)::int)))[1] as hits
  from raw.records
),
best as (
  select record_id, hits from counted where hits * 2 >= len($words::varchar[]) order by hits desc, record_id limit 200
)
select
  b.record_id,  -- our id of the record
  r.text,       -- its text
  b.hits        -- how many of the words it has
from best as b
join raw.records as r on r.record_id = b.record_id
order by b.hits desc, b.record_id
