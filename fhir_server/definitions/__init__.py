"""R4 4.0.1 as data: structures, bindings, search parameters, compartments."""
