"""One script per question, each comparing side by side in one run: ratios, not times."""
