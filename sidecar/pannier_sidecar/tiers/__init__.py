"""The tiers below the read path: `l1_local`, `l2_redis`, and the stores that can be L3."""
