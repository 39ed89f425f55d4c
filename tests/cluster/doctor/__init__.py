"""`azwi doctor`: one broken cluster a finding, on a real API server, mended by the command that it prints."""
