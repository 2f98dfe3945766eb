"""Migrates code from google-generativeai and reports the result, using syntax trees."""
