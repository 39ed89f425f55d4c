"""What tests share: builders and fakes."""
