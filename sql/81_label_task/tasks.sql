-- One row per version of the labelling task: what the raters are asked, and how.
-- Append-only: a change of the config adds a version, and the newest is in force. Labels belong to a task by its name.
-- incoming(task, task_version, guideline_version, guideline, classes, examples, settings, written_at): the config, when it says anything new
select
  task::varchar as task,                            -- name of the task
  task_version::varchar as task_version,            -- hash of all that the config says of it
  guideline_version::varchar as guideline_version,  -- hash of the guideline and the classes: what a label was made under
  guideline::varchar as guideline,                  -- the annotation guideline, Markdown
  classes::json as classes,                         -- the classes in their order: [{name, definition}], with renamed_from where one had other names
  examples::json as examples,                       -- few-shot examples: [{text, label}]
  settings::json as settings,                       -- raters_per_item, budget_items, expert_gate, … as configured
  written_at::timestamptz as written_at             -- when this version came
from incoming
