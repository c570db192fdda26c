-- One row per part of a benchmark's items that was looked for: a question, an answer, a list of choices.
-- The texts of the benchmark are not kept.
-- incoming(benchmark, item_id, field, file, row, words, ngrams, common_ngrams): the benchmark files, read and counted
select
  benchmark::varchar as benchmark,          -- name of the benchmark, as the config gives it
  item_id::varchar as item_id,              -- the item's id in its file; file:row where it has none
  field::varchar as field,                  -- field of the item; several joined by + where each alone was too short
  file::varchar as file,                    -- the benchmark's file
  row::bigint as row,                       -- row in the file, from 1
  words::bigint as words,                   -- normalised words of the part
  ngrams::bigint as ngrams,                 -- its distinct word n-grams; 0 if it is too short to be looked for
  common_ngrams::bigint as common_ngrams    -- those of them that are common and count for nothing
from incoming
