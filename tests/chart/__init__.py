"""The chart: what the real helm renders, and what it refuses."""
