-- One row per erasure: its receipt, which also lies as a file beside the database.
-- Append-only. The signature is an HMAC-SHA256 under the key of the tombstones; the receipt names its row of ledger.runs, so it cannot be
-- exchanged without the ledger showing it, and the receipt before it.
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
