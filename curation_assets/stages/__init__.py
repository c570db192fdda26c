"""One module per stage: the asset, its config, its metadata.

An asset reads what it needs, calls an algorithm or a model, commits, and describes the result; how things are computed is in
algorithms/, models/ and sql/.
"""

OWNERS = ["team:data-curation"]
"""Owner shown on every asset; change it to your team."""
