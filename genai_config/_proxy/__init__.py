"""An HTTP server on this machine that sends OpenAI's requests on with fresh credentials."""
