"""curation-assets: a Dagster asset graph over DuckDB that turns a heap of text into a small, defensible training set."""

__version__ = "0.1.0"
