"""The detector: voxels, sparse backbone, bird's-eye-view network, heads, and the energy over boxes."""
