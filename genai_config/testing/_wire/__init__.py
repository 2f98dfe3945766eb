"""How the local Gemini server is reached: TLS, gRPC, HTTP, OAuth."""
