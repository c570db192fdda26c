-- One row per record that was compared with the benchmarks: which of their n-grams it holds.
-- Rows of records and texts that are no longer there go, those of new ones come; all are made anew where the benchmarks have changed.
-- incoming(record_id, ngram_hashes): records as they were compared, by algorithms/decontamination.py; from deduped.records(record_id, text_hash)
select
  i.record_id::varchar as record_id,          -- our id of the record
  d.text_hash::varchar as text_hash,          -- hash of its text
  i.ngram_hashes::ubigint[] as ngram_hashes   -- 64-bit hashes of the distinct n-grams of the benchmarks that it holds
from incoming as i
join deduped.records as d using (record_id)
