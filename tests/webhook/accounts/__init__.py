"""Tests of webhook.accounts."""
