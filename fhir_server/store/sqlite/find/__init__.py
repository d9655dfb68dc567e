"""Search in SQL: clauses become nodes, nodes become statements, a plan chooses what drives them."""
