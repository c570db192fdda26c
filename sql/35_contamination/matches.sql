-- One row per record and part of a benchmark item of which the record holds a good share of the word n-grams.
-- Weak matches are kept too, so that another threshold (filtered.max_benchmark_coverage) decides without measuring again.
-- incoming(record_id, benchmark, item_id, field, coverage, shared_ngrams, ngrams, longest_run): the measure, by algorithms/decontamination.py; from deduped.records(record_id, text), raw.records(original), cleaned.records(cleaned_original)
select
  record_id::varchar as record_id,          -- our id of the record
  benchmark::varchar as benchmark,          -- name of the benchmark
  item_id::varchar as item_id,              -- the item
  field::varchar as field,                  -- the part of it
  coverage::double as coverage,             -- share of the part's n-grams, common ones aside, that the record holds, 0 to 1
  shared_ngrams::bigint as shared_ngrams,   -- how many it holds
  ngrams::bigint as ngrams,                 -- how many the part has, common ones aside
  longest_run::varchar as longest_run       -- longest run of words both hold, normalised, numbers as 0
from incoming
