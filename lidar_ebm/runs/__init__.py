"""Run folders: configuration, weights, temperature."""
