"""What can be configured, how it is checked, merged and kept secret, and what is in force."""
