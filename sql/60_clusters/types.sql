-- One row per record that asks for something (kinds instruction, preference, reward, chat): what type of task it sets.
-- A guess, by rules over the words of the request and, where none fits, by the nearest records that a rule knows.
-- incoming(record_id, type, how, vote_share): algorithms/instruction_types.py; from raw.records(kind, original), cleaned.records(cleaned_original), embeddings.vectors(embedding)
select
  record_id::varchar as record_id,  -- our id of the record
  type::varchar as type,            -- code, maths, translation, …; null where no rule fits any record
  how::varchar as how,              -- rule, or neighbours: what most of the 10 nearest records that a rule knows are
  vote_share::float as vote_share   -- share of the rules' votes, or of the neighbours, that are for this type
from incoming
