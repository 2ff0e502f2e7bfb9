"""From points to proposals and bird's-eye-view maps; no energy."""
