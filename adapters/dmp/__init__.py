"""The pre-DMP record: assembled, validated, handed out as a document."""
