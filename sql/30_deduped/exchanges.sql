-- One row per record of kind instruction or chat: what it asks and what it answers, as hashes, read once.
-- Appended before records are compared, so a new batch costs its own records.
-- $version: of the reading; rows of another are read again and count no more
-- incoming(record_id, request_hash, answer_hash, answer_words): some records; from raw.records(original)
select
  record_id::varchar as record_id,        -- our id of the record
  request_hash::varchar as request_hash,  -- MD5 of what is asked with the system prompt and the turns before it, case and spaces aside
  answer_hash::varchar as answer_hash,    -- MD5 of the answer, case and spaces aside
  answer_words::int as answer_words,      -- words of the answer
  $version::int as version                -- of the reading
from incoming
