"""The console: errors, output, and option types."""
