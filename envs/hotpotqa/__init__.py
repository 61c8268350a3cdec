"""HotpotQA: questions that need several paragraphs."""
