-- One row per keyed hash of an erased record: what recognises it if it comes again, and nothing of what it said.
-- Append-only. HMAC-SHA256 under a key that lies beside the database (<database>.erasure.key), not in it: a plain hash of a short text is
-- found by trying texts; this one only by whoever has the key too. tombstone_id is random.
-- incoming(tombstone_id, erasure_id, kind, keyed_hash, key_id, source, reason, erased_at): what was erased; from raw.records(record_id, text, original), cleaned.records(text)
select
  tombstone_id::varchar as tombstone_id,    -- id that stands for the record wherever it had been named
  erasure_id::varchar as erasure_id,        -- the erasure
  kind::varchar as kind,                    -- what was hashed: record (its record_id), text (before or after cleaning, its words in lower case), original
  keyed_hash::varchar as keyed_hash,        -- HMAC-SHA256 of it
  key_id::varchar as key_id,                -- first 16 hex digits of the key's SHA-256: which key
  source::varchar as source,                -- refused in this source only; null: in every source
  reason::varchar as reason,                -- why, as given
  erased_at::timestamptz as erased_at       -- when
from incoming
