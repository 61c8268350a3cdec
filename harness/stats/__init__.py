"""Statistics: intervals, paired tests, power; arrays in, small records out."""
