"""The explanations of codes."""
