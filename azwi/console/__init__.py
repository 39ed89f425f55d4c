"""What a person sees of azwi: errors, output, and the types of options."""
