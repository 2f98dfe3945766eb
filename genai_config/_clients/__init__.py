"""What the clients of other SDKs share: where they go, how they send, what their errors say."""
