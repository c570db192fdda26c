-- Every item with a settled label either trains a model or evaluates it.
-- asset: label_model
select
  task,             -- the task
  round,            -- the round
  labels_train,     -- items it was fitted on
  labels_evaluate,  -- items it was measured on
  items_used        -- items with a settled label
from label_model.rounds
where labels_train + labels_evaluate <> items_used or labels_train < 2
