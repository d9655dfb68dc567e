"""Device feeds in: readings to Device and Observation."""
