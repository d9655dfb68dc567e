"""What is indexed: stored SearchParameters taken up, and resources indexed anew."""
