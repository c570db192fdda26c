-- One row per place where personal data or a secret was found; never what it was. Of records of superseded versions there is none.
-- incoming(record_id, part, type, start_char, end_char, action, engine): findings; from raw.records(text, original)
-- decided: the records that cleaning drops
select
  record_id,   -- our id of the record; one that is dropped for what was found is no longer in cleaned.records
  part,        -- where in it: text, the owner's label, or of a record with turns the field and place (messages[0].content); a key, or what stands under one, can be told by its number alone (arguments.{2})
  type,        -- secret, url_credentials, email, iban, credit_card, kr_rrn, us_ssn, uk_nino, ip_address, phone or person
  start_char,  -- first character in the repaired part, before anything was replaced, from 0
  end_char,    -- the character after its last
  action,      -- keep, mask, pseudonymise or drop
  engine       -- what recognised it: a rule of algorithms/pii, or the name of a model
from incoming
where record_id not in (select record_id from decided where rule = 'superseded')
