"""Connections shared by all tenants, and how a call travels over them."""
