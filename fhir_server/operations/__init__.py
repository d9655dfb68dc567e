"""R4's own operations: `$everything`, `$lastn`, `$validate` and the others."""
