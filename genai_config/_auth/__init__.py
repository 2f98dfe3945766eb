"""Whose credentials a request carries, and a valid token of theirs."""
