"""Whether two runs of a program say the same to the service: its requests, side by side."""
