"""The chart: objects and error messages as the real helm prints them."""
