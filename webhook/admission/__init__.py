"""What happens to one AdmissionReview. Pure: dicts in, dicts out; no I/O, no clock, no environment."""
