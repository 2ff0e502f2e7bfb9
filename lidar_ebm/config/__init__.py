"""Configurations: their settings, one module a room, and how they are read, checked and explained."""
