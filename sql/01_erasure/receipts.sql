-- One row per erasure: its receipt, which also lies as a file beside the database.
-- Append-only. The receipt names its row of ledger.runs and the receipt before it, and that row holds the hash of what the receipt says, so
-- neither can be exchanged without the other showing it (`curate verify --ledger`). The signature is an HMAC-SHA256 under the key of the
-- tombstones. It shows to whoever holds that key that the receipt was made by someone who held it. It is no public-key signature: nobody
-- else can check it, it names no person, it says nothing of the time, and whoever holds the key could have made it.
-- incoming(erasure_id, issued_at, receipt, previous_receipt_hash, receipt_hash, signature, key_id, chain_hash): the receipt
select
  erasure_id::varchar as erasure_id,        -- the erasure; run_id of its row in ledger.runs
  issued_at::timestamptz as issued_at,      -- when
  receipt::json as receipt,                 -- what was asked and done, counts only
  previous_receipt_hash::varchar as previous_receipt_hash,  -- hash of the receipt before; 64 zeros for the first
  receipt_hash::varchar as receipt_hash,    -- SHA-256 of previous_receipt_hash and the receipt
  signature::varchar as signature,          -- HMAC-SHA256 of receipt_hash
  key_id::varchar as key_id,                -- first 16 hex digits of the key's SHA-256
  chain_hash::varchar as chain_hash         -- hash of the erasure's row in ledger.runs
from incoming
