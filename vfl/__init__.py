"""Tallystick: vertical federated learning for finance risk control."""

__version__ = "0.1.0"
