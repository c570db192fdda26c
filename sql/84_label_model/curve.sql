-- One row per round: how far its model agrees with the experts on the evaluation items of today.
-- The rounds differ by their models and not by the luck of their items; the stopping rule reads this. Built anew with every fit.
-- incoming(task, round, labels, model_kappa, model_kappa_low, model_kappa_high, expert_kappa): every round's model on the evaluation items; from label_model.models(parameters), expert_labels.items(label, votes, half)
select
  task::varchar as task,                         -- name of the task
  round::integer as round,                       -- the round
  labels::integer as labels,                     -- items with a settled label when it was fitted
  model_kappa::double as model_kappa,            -- mean kappa of that round's model with each single expert on the evaluation items of today
  model_kappa_low::double as model_kappa_low,    -- lower end of its 95 % interval
  model_kappa_high::double as model_kappa_high,  -- upper end
  expert_kappa::double as expert_kappa           -- mean pairwise kappa of the experts on them
from incoming
