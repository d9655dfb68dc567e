"""FHIRPath compiled to Python functions."""
