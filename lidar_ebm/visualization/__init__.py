"""Pictures of frames and of runs: bird's-eye views (`bev_plot`) and curves (`curve_plots`), in one palette."""
