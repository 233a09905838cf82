"""Tables: what their columns are, rows as vectors, and samples as rows again."""
