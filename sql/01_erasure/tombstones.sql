-- One row per keyed hash of what an erasure took out: what recognises it if it comes again, and nothing of what it said.
-- Append-only. HMAC-SHA256 under a key that lies beside the database (<database>.erasure.key), not in it: a plain hash of a short text is
-- found by trying texts; this one only by whoever has the key too. tombstone_id is random. Rows are numbered within their erasure and
-- hashed; the erasure's row of ledger.runs holds the hash over all of them (sql/audit/tombstone_hashes.sql). The rows of an erasure that
-- was lifted (erasure.lifted) refuse nothing any more.
-- incoming(tombstone_id, erasure_id, kind, keyed_hash, key_id, source, reason, erased_at): what was erased; from raw.records(record_id, source_record_id, text, original)
with numbered as (
  select *, row_number() over (partition by erasure_id order by tombstone_id, kind, keyed_hash) as position from incoming
)
select
  tombstone_id::varchar as tombstone_id,    -- id that stands for the record wherever it had been named
  erasure_id::varchar as erasure_id,        -- the erasure
  kind::varchar as kind,                    -- what was hashed: record (its record_id), owner_id (the owner's id of it in its source, where a withdrawal took it out), text (before or after cleaning, in lower case), words (of the cleaned text, without marks), original; source or license (a withdrawn one's name)
  keyed_hash::varchar as keyed_hash,        -- HMAC-SHA256 of it
  key_id::varchar as key_id,                -- first 16 hex digits of the key's SHA-256: which key
  source::varchar as source,                -- refused in this source only; null: in every source
  reason::varchar as reason,                -- why, as given
  erased_at::timestamptz as erased_at,      -- when
  position::bigint as position,             -- number of the row within its erasure, from 1; null before tombstones were hashed
  left(sha256(json_array(
    erasure_id::varchar, position::bigint, tombstone_id::varchar, kind::varchar, keyed_hash::varchar, key_id::varchar, source::varchar,
    reason::varchar, epoch_us(erased_at::timestamptz)
  )::varchar), 16) as row_hash              -- first 16 hex digits of the row's SHA-256: says which row was edited; the proof is the erasure's hash
from numbered
