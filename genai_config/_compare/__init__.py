"""Compares the requests that two runs of a program send to the service."""
