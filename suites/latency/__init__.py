"""Laws of speed: ratios timed by turns in one run, and what a step costs in whole numbers."""
