"""What would happen to a request, and what is wrong on a machine."""
