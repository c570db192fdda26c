-- One row per text: its lines and paragraphs, found once.
-- Of each occurrence: a hash of what it says, the character it begins at, its characters with the line break after it.
-- Appended chunk by chunk before records are compared, so a new batch costs its own texts.
-- incoming(text_hash, passages): lines and paragraphs of some texts, by algorithms/passages.py; from cleaned.records(text)
select
  text_hash::varchar as text_hash,  -- hash of the cleaned text
  passages::struct(passage_hash ubigint, start uinteger, chars uinteger, is_paragraph boolean)[] as passages  -- its lines and paragraphs, each occurrence
from incoming
