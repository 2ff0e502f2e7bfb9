"""Detection heads: from a bird's-eye-view map to scored boxes."""
