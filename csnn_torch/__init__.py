"""The companion network in snnTorch: for cross-framework checks and as the source of exports."""
