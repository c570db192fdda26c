-- One row per record that has most of some words in its text, most first: candidates for the nearest to a given text.
-- $words: a few words of the text, the longest, in lower case
select
  record_id,  -- our id of the record
  text,       -- its text
  list_sum(list_transform($words::varchar[], lambda word: contains(lower(text), word)::int)) as hits  -- how many of the words it has
from raw.records
where list_sum(list_transform($words::varchar[], lambda word: contains(lower(text), word)::int)) * 2 >= len($words::varchar[])
order by hits desc, record_id
limit 200
