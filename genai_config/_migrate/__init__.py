"""How code on google-generativeai is moved, and what is reported of it: syntax trees, no I/O."""
