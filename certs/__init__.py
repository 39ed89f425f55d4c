"""Certificates of the admission server: sources, rotation and the caBundle."""
