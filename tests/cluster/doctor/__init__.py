"""`azwi doctor`: one broken cluster a finding, on a real API server, fixed by the command that it prints."""
