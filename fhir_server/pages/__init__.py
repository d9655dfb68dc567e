"""What all HTML pages share: layout, session, language."""
