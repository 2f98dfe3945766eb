"""The rooms that know google.generativeai: the manager put into it, and its clients."""
