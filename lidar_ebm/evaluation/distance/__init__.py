"""Scoring all around the sensor, by distance and points: for own data, without images and with any class names."""
