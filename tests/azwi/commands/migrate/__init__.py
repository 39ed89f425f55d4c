"""Tests of `azwi migrate`."""
