"""The same injection by the API server itself: admission policies whose CEL text is made from the webhook's tables."""
