"""Offline admissions."""
