"""Agreements between companies: drafted by one, signed by all, kept beside every run that they allow."""
