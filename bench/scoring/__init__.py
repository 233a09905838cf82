"""From samples and a model to figures: references, inputs of metrics, one scorer for all callers."""
