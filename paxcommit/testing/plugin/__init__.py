"""What the pytest plugin is made of: failpoints, children to kill, and the judgement afterwards."""
