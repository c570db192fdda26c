-- One row per new concept: a group of new records that the old ones did not cover.
-- incoming(concept, records, share, ratio, p_value, words, sources, examples): what was found; from embeddings.vectors(embedding), filtered.records(text)
select
  concept::integer as concept,          -- its number in this report, largest first
  records::bigint as records,           -- new records of it
  share::double as share,               -- share of the new records
  ratio::double as ratio,               -- how many times as frequent among the new records as among the old
  p_value::double as p_value,           -- chance of such a group where nothing changed
  words::varchar[] as words,            -- words most typical of it (c-TF-IDF), best first
  sources::varchar[] as sources,        -- sources it came from
  examples::varchar[] as examples       -- five texts of it
from incoming
