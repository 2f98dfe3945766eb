"""The commands of genai-config, and how they print."""
