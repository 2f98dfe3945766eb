"""What the local Gemini server does: its rules, its state, its answers."""
