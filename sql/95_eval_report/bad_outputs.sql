-- One row per bad output of a model that is remembered, so that every evaluation looks at it again. Written by `curate blame`.
-- incoming(output_id, prompt, output, added_at): the outputs as they were given
select
  output_id::varchar as output_id,      -- hash of prompt and output
  prompt::varchar as prompt,            -- what the model was asked; empty where that is not known
  output::varchar as output,            -- what it said
  added_at::timestamptz as added_at     -- when it was first given
from incoming
