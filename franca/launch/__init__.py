"""Jobs: what is submitted to a cluster, how it goes on after every kind of stop, and how it is followed."""
