"""Drawings for the manual as SVG: they follow the reader's light or dark mode, and load nothing."""
