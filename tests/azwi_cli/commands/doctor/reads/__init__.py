"""What the doctor reads, without a cluster."""
